"""The calling convention: one pluggy manager a run, through which components are asked and listeners told."""

from __future__ import annotations

import logging
from typing import Any

import pluggy

from reidfw_core.components import Component, Listener
from reidfw_core.errors import PluginBroken, ReidfwError
from reidfw_core.hookspecs import KINDS, lifecycle
from reidfw_core.markers import PROJECT

logger = logging.getLogger(__name__)

_COMPONENT_HOOKS = frozenset(
    name
    for kind in KINDS.values()
    if kind.specs is not lifecycle
    for name in vars(kind.specs)
    if hasattr(vars(kind.specs)[name], f"{PROJECT}_spec")
)


class HookBus:
    """Registers components and calls their hooks. Make one for each run; there is no global one."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        for kind in KINDS.values():
            self._manager.add_hookspecs(kind.specs)
        self._components: dict[Component, str] = {}
        self._policies: dict[Component, str] = {}

    def add(self, component: Component, name: str) -> None:
        """Registers a component.

        Args:
            component: an instance of a component class.
            name: what error messages call it.

        Raises:
            PluginBroken: it implements an unknown hook or wrong arguments, lacks a hook that its kind requires, or
                is a listener that answers a component hook instead of wrapping it.
        """
        if component in self._components:
            return
        registered = f"{name}#{len(self._components)}"  # one class may serve twice, with other parameters
        try:
            self._manager.register(component, name=registered)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as cause:
            self._drop(component)
            raise PluginBroken(f"{component.kind} '{name}' does not keep its contract: {cause}") from cause
        callers = self._manager.get_hookcallers(component) or []
        fault = self._fault(component, {caller.name for caller in callers})
        if fault:
            self._drop(component)
            raise PluginBroken(
                f"{component.kind} '{name}' does not keep its contract: {fault}",
                hint="Report this to the maintainers of the plugin.",
            )
        self._components[component] = name

    def set_error_policy(self, listener: Component, on_error: str) -> None:
        """What happens when this listener raises: ``fail`` or ``warn``, instead of what its class says."""
        self._policies[listener] = on_error

    def supports(self, component: Component, hook: str) -> bool:
        """Whether a registered component implements ``hook``."""
        return any(caller.name == hook for caller in self._manager.get_hookcallers(component) or [])

    def ask(self, component: Component, hook: str, **arguments: Any) -> Any:
        """Lets exactly one component answer; wrappers of listeners apply.

        Raises:
            PluginBroken: the component gave no answer (None).
            Exception: whatever the component raises.
        """
        others = [other for other in self._components if other is not component and not isinstance(other, Listener)]
        answer = self._manager.subset_hook_caller(hook, others)(**arguments)
        if answer is None:
            raise PluginBroken(
                f"{component.kind} '{self._components[component]}' gave no answer to {hook}()",
                hint="Report this to the maintainers of the plugin.",
            )
        return answer

    def tell(self, hook: str, **arguments: Any) -> None:
        """Tells every component that implements a lifecycle hook, each on its own.

        A listener that raises stops the run, unless its ``on_error`` is ``warn``.

        Raises:
            PluginBroken: a listener with ``on_error = "fail"`` raised something else than a ReidfwError.
        """
        for component, name in list(self._components.items()):
            if not self.supports(component, hook):
                continue
            others = [other for other in self._components if other is not component]
            try:
                self._manager.subset_hook_caller(hook, others)(**arguments)
            except Exception as cause:
                if self._policies.get(component, getattr(component, "on_error", "fail")) == "warn":
                    logger.warning("listener '%s' failed in %s: %s: %s", name, hook, type(cause).__name__, cause)
                    continue
                if isinstance(cause, ReidfwError):
                    raise
                raise PluginBroken(
                    f"listener '{name}' failed in {hook}: {type(cause).__name__}: {cause}",
                    hint="Remove it from the configuration, or fix what it complains about.",
                ) from cause

    def _fault(self, component: Component, hooks: set[str]) -> str | None:
        kind = KINDS.get(component.kind)
        if kind is None:
            return f"'{component.kind}' is no kind of component"
        missing = [hook for hook in kind.required if hook not in hooks]
        if missing:
            return f"it lacks the required hook {', '.join(missing)}"
        if isinstance(component, Listener):
            for caller in self._manager.get_hookcallers(component) or []:
                for implementation in caller.get_hookimpls():
                    if (
                        implementation.plugin is component
                        and caller.name in _COMPONENT_HOOKS
                        and not implementation.wrapper
                    ):
                        return f"a listener may only wrap {caller.name}: use @hookimpl(wrapper=True)"
        return None

    def _drop(self, component: Component) -> None:
        if self._manager.is_registered(component):
            self._manager.unregister(component)
