"""The address book: which components are installed, and how to load exactly one of them.

Listing reads package metadata only; it imports no plugin. Loading imports one module, through stevedore.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import reidfw_core
from reidfw_core.errors import PluginBroken, PluginConflict, PluginIncompatible, PluginNotFound, nearest_match
from reidfw_core.hookspecs import KINDS, Kind

if TYPE_CHECKING:
    from reidfw_core.components import Component

CORE_DISTRIBUTION = "reidfw-core"

Status = Literal["ok", "conflict", "incompatible"]


def fold(name: str) -> str:
    """The form in which names are compared: lower case, ``-`` taken for ``_``."""
    return name.lower().replace("-", "_")


@dataclass(frozen=True)
class CatalogEntry:
    """One registered component, as its distribution's metadata describes it.

    Attributes:
        kind: plural name of its kind.
        name: the name users write.
        target: ``module:Class`` that will be loaded.
        distribution: name of the distribution that registers it.
        version: its version.
        summary: its one-line description.
        needs_core: what it asks of reidfw-core (``>=1.0,<2``), empty where it does not say.
        status: ``ok``; ``conflict`` where another compatible distribution uses the same name; ``incompatible``
            where it excludes the installed reidfw-core.
        entry_point: the metadata object, for loading.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    summary: str
    needs_core: str
    status: Status
    entry_point: metadata.EntryPoint

    @property
    def reference(self) -> str:
        """The qualified name ``distribution/name``, which always denotes this entry alone."""
        return f"{self.distribution}/{self.name}"


class Catalog:
    """The components installed in the running interpreter.

    Args:
        core_version: version that distributions must accept; the installed one by default.
    """

    def __init__(self, core_version: str = reidfw_core.__version__) -> None:
        self._core_version = core_version

    def entries(self, kind: str) -> tuple[CatalogEntry, ...]:
        """All components of a kind, sorted by name; imports none of them.

        Raises:
            PluginNotFound: there is no such kind.
        """
        return self._all[self.kind(kind).name]

    def kind(self, name: str) -> Kind:
        """The kind with this name; singular forms are understood.

        Raises:
            PluginNotFound: there is no such kind; names the nearest one.
        """
        for candidate in (fold(name), fold(name) + "s", fold(name) + "es"):
            if candidate in KINDS:
                return KINDS[candidate]
        raise PluginNotFound(_unknown("kind of component", name, KINDS), hint="Kinds: " + ", ".join(KINDS))

    def find(self, kind: str, reference: str) -> CatalogEntry:
        """The one entry that ``name`` or ``distribution/name`` denotes.

        Raises:
            PluginNotFound: nothing matches; names the nearest one, or says what to install where the kind is empty.
            PluginConflict: a bare name that several distributions use.
            PluginIncompatible: the only match asks for another version of reidfw-core.
        """
        known = self.entries(kind)
        distribution, _, name = reference.rpartition("/")
        matches = [
            entry
            for entry in known
            if fold(entry.name) == fold(name)
            and (not distribution or canonicalize_name(entry.distribution) == canonicalize_name(distribution))
        ]
        usable = [entry for entry in matches if entry.status != "incompatible"]
        if not matches:
            spec = self.kind(kind)
            hint = (
                f"No {spec.name} are installed at all. Install some, for example: pip install {spec.package}"
                if not known
                else f"Installed {spec.name}: {', '.join(sorted({e.name for e in known}, key=fold))}"
            )
            raise PluginNotFound(_unknown(f"component in '{spec.name}'", reference, [e.name for e in known]), hint=hint)
        if not usable:
            entry = matches[0]
            raise PluginIncompatible(
                f"{kind} '{reference}' of {entry.distribution} {entry.version} needs {CORE_DISTRIBUTION}"
                f"{entry.needs_core}, installed is {self._core_version}",
                hint=f"pip install --upgrade {entry.distribution}",
            )
        if len(usable) > 1:
            raise PluginConflict(
                f"{kind} '{reference}' is registered by several distributions: "
                + ", ".join(sorted(entry.reference for entry in usable)),
                hint=f"Write one of the qualified names, for example '{usable[0].reference}', or uninstall the other.",
            )
        return usable[0]

    def load(self, kind: str, reference: str) -> type[Component]:
        """Imports one component and checks that it is a class of its kind.

        Raises:
            PluginNotFound, PluginConflict, PluginIncompatible: as :meth:`find`.
            PluginBroken: it cannot be imported, or is not a class of its kind.
        """
        entry = self.find(kind, reference)
        component = _load(entry)
        base = self.kind(kind).base
        if not (isinstance(component, type) and issubclass(component, base)):
            raise PluginBroken(
                f"{entry.kind} '{entry.name}' of {entry.distribution} {entry.version}: {entry.target} is not a "
                f"subclass of reidfw_core.api.{base.__name__}",
                hint="Report this to the maintainers of the plugin.",
            )
        return component

    @cached_property
    def _all(self) -> dict[str, tuple[CatalogEntry, ...]]:
        found: dict[str, list[CatalogEntry]] = {kind: [] for kind in KINDS}
        groups = {kind.group: kind.name for kind in KINDS.values()}
        facts: dict[int, tuple[str, str, str, str, bool]] = {}
        points: list[tuple[str, metadata.EntryPoint]] = []
        everything = metadata.entry_points()  # one scan of the path: a scan for each group costs seven
        for group, kind in groups.items():
            points += [(kind, point) for point in everything.select(group=group)]
        for kind, point in points:
            dist = point.dist
            key = id(dist)  # its name would parse its metadata anew for every entry
            if key not in facts:
                facts[key] = _distribution_facts(dist, self._core_version)
            name, version, summary, needs_core, compatible = facts[key]
            found[kind].append(
                CatalogEntry(
                    kind=kind,
                    name=point.name,
                    target=point.value,
                    distribution=name,
                    version=version,
                    summary=summary,
                    needs_core=needs_core,
                    status="ok" if compatible else "incompatible",
                    entry_point=point,
                )
            )
        return {kind: _with_conflicts(entries) for kind, entries in found.items()}


def _load(entry: CatalogEntry) -> object:
    from stevedore import DriverManager

    class OneEntry(DriverManager):
        """Sees only the chosen entry, so that no other plugin of the group is imported."""

        def list_entry_points(self) -> list[metadata.EntryPoint]:
            return [entry.entry_point]

    try:
        return OneEntry(f"reidfw.{entry.kind}", entry.name, warn_on_missing_entrypoint=False).driver
    except (Exception, SystemExit) as cause:  # a plugin may call sys.exit() while it is imported
        root = cause.__cause__ or cause
        raise PluginBroken(
            f"{entry.kind} '{entry.name}' of {entry.distribution} {entry.version} cannot be imported from "
            f"{entry.target}: {type(root).__name__}: {root}",
            hint=f"pip install --force-reinstall {entry.distribution}, or pip uninstall {entry.distribution}",
        ) from cause


def _distribution_facts(dist: metadata.Distribution | None, core_version: str) -> tuple[str, str, str, str, bool]:
    if dist is None:
        return "(unknown)", "", "", "", True
    needs_core, compatible = "", True
    known = dist.metadata  # parsed once; each property of the distribution would parse it again
    for text in known.get_all("Requires-Dist") or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # not about us: a malformed line that pip let pass
        if canonicalize_name(requirement.name) == CORE_DISTRIBUTION and requirement.marker is None:
            needs_core = str(requirement.specifier)
            compatible = requirement.specifier.contains(core_version, prereleases=True)
    return known["Name"], known["Version"], known["Summary"] or "", needs_core, compatible


def _with_conflicts(entries: Iterable[CatalogEntry]) -> tuple[CatalogEntry, ...]:
    entries = list(entries)
    compatible = [fold(entry.name) for entry in entries if entry.status == "ok"]
    shown = [
        CatalogEntry(**{**entry.__dict__, "status": "conflict"})
        if entry.status == "ok" and compatible.count(fold(entry.name)) > 1
        else entry
        for entry in entries
    ]
    return tuple(sorted(shown, key=lambda entry: (fold(entry.name), entry.distribution)))


def _unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    nearest = nearest_match(name, allowed)
    return f"There is no {what} named '{name}'" + (f" (did you mean '{nearest}'?)" if nearest else "")
