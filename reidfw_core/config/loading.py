"""From a YAML file and overrides to plain values, each with the place where it was written.

Hydra composes, OmegaConf resolves interpolations; what this module adds is

* any file name, and complaints with file and line;
* ``${NAME}`` for an environment variable, as the user's document has it;
* overrides of attributes that the file leaves out, without a ``+``;
* the expressions of :mod:`reidfw_core.config.expressions` in every string.

Source: the user's document, sections 2.11 and 3, appendix A.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidfw_core.config.aliases import lookup, resolve_aliases
from reidfw_core.config.expressions import parse_value
from reidfw_core.config.sources import COMMAND_LINE, Place, SourceMap, TreePath, dotted
from reidfw_core.errors import ConfigError, Problem, nearest_match

if TYPE_CHECKING:
    import yaml
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

DEFAULT_RUN_DIR = "./experiments_outputs/${now:%Y_%m_%d_%H_%M_%S}"
"""``hydra.run.dir`` where the file does not give one."""

SUFFIXES = (".yaml", ".yml")

_MAX_DEPTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration as plain values, before any section is checked.

    Attributes:
        path: absolute path of the file, None where there are only overrides.
        overrides: the overrides as given.
        values: nested plain values: interpolations resolved, expressions evaluated, spellings unified.
        sources: where each value was written, and its text.
        warnings: what the user should know.
        problems: what is wrong already, although the file could be read.
        config_text: the composed configuration as YAML, interpolations unresolved.
        hydra_text: Hydra's own settings as YAML.
    """

    path: Path | None
    overrides: tuple[str, ...]
    values: Mapping[str, Any]
    sources: SourceMap
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    config_text: str
    hydra_text: str

    @property
    def origin(self) -> dict[str, str]:
        """``config_path`` and ``config_name``, as trackers log them."""
        if self.path is None:
            return {"config_path": "", "config_name": ""}
        return {"config_path": str(self.path.parent), "config_name": self.path.stem}


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Reads a YAML file, applies overrides, and resolves everything to plain values.

    Args:
        path: the file; its suffix may be left out. None begins with nothing.
        overrides: in Hydra's syntax, for example ``training.epochs=2``, ``+new.key=1``, ``~training.dropout``.

    Raises:
        ConfigError: the file cannot be read or is no YAML, or Hydra does not take an override. Other faults are in
            ``problems`` of the result, so that they can be shown together with those of the sections.
    """
    if path is None:
        file = None
        data: dict[str, Any] = {}
        sources = SourceMap(COMMAND_LINE)
    else:
        file = find_file(path)
        label = str(path if path.suffix in SUFFIXES else file)
        data, sources = read_yaml(_read_text(file, label), label)
    has_hydra = "hydra" in data
    changes = _parse_overrides(overrides, data)
    data = _without_hydra_deletions(data, changes)
    misplaced = [
        sources.problem(path, "attributes are expected below it")
        for path in (("hydra",), ("hydra", "run"))
        if lookup(data, path)[1] is not None and not isinstance(lookup(data, path)[1], Mapping)
    ]
    data = _with_run_dir(data)
    composed = _compose(file, data, [change for change in changes if not change.is_hydra_deletion], sources)
    sources = sources.replaced({change.path: Place(COMMAND_LINE, None, change.text) for change in changes})
    resolved = _Resolution(sources)
    values = resolved.read(composed.config)
    respelled = resolve_aliases(values, resolved.with_texts())
    warnings = list(respelled.warnings)
    if not has_hydra and not any(change.path[0] == "hydra" for change in changes):
        warnings.append(f"{sources.file}: there is no 'hydra' section: the run directory is {DEFAULT_RUN_DIR}")
    return LoadedConfig(
        path=file,
        overrides=tuple(overrides),
        values=respelled.values,
        sources=respelled.sources,
        warnings=tuple(warnings),
        problems=(*misplaced, *resolved.problems, *respelled.problems),
        config_text=composed.config_text,
        hydra_text=composed.hydra_text,
    )


# --- the file ---------------------------------------------------------------------------------------------------


def find_file(path: Path) -> Path:
    """The absolute path of a configuration file; ``.yaml`` or ``.yml`` is added where the name lacks it.

    Raises:
        ConfigError: there is no such file; names the nearest one in the folder.
    """
    given = path.expanduser().absolute()
    candidates = [given, *(given.with_name(given.name + suffix) for suffix in SUFFIXES if given.name)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    folder = given if given.is_dir() else given.parent
    present = sorted(item.name for item in folder.iterdir() if item.suffix in SUFFIXES) if folder.is_dir() else []
    if given.is_dir():
        message = "is a folder, not a file"
    elif not folder.is_dir():
        message = f"does not exist, nor does the folder {folder}"
    else:
        message = "does not exist"
    raise ConfigError(
        [
            Problem(
                where="",
                file=str(path),
                message=f"{message} (tried {given})",
                allowed=f"YAML files there: {', '.join(present)}" if present else None,
                nearest=nearest_match(given.name, present),
            )
        ]
    )


def _read_text(file: Path, label: str) -> str:
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise ConfigError([Problem(where="", file=label, message=f"cannot be read: {cause.strerror}")]) from cause
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content[: cause.start].count(b"\n") + 1
        message = f"is not UTF-8 text (byte 0x{content[cause.start]:02x}); save it as UTF-8"
        raise ConfigError([Problem(where="", file=label, line=line, message=message)]) from cause


def read_yaml(text: str, label: str) -> tuple[dict[str, Any], SourceMap]:
    """Reads YAML text into plain values, with the line of every attribute.

    Args:
        text: the YAML.
        label: what complaints call the file.

    Raises:
        ConfigError: no YAML, not a mapping at its top, an attribute given twice.
    """
    import yaml
    from omegaconf import OmegaConf

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as cause:
        raise ConfigError([_syntax_problem(cause, text, label)]) from cause
    if root is None:
        raise ConfigError(
            [Problem(where="", file=label, message="is empty; operation_mode and its sections are expected")]
        )
    if not isinstance(root, yaml.MappingNode):
        message = "holds no attributes; lines such as 'operation_mode: training' are expected"
        raise ConfigError([Problem(where="", file=label, line=root.start_mark.line + 1, message=message)])
    survey = _Survey(label)
    survey.visit(root, ())
    if survey.problems:
        raise ConfigError(survey.problems)
    try:
        data = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except yaml.YAMLError as cause:
        raise ConfigError([_syntax_problem(cause, text, label)]) from cause
    assert isinstance(data, dict)
    return {str(key): value for key, value in data.items()}, SourceMap(label, survey.places)


def _syntax_problem(error: yaml.YAMLError, text: str, label: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else None
    content = text.splitlines()[line - 1] if line is not None and line <= len(text.splitlines()) else ""
    if "\t" in content[: len(content) - len(content.lstrip())] or "'\\t'" in str(error):
        return Problem(
            where="", file=label, line=line, message="a tab is used for indentation; YAML allows blanks only"
        )
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    return Problem(
        where="",
        file=label,
        line=line,
        message=f"is not valid YAML: {f'{context}, ' if context else ''}{what}",
        allowed="lines such as 'attribute: value', indented by blanks; quotes around text with special characters",
    )


class _Survey:
    """Walks YAML nodes: notes the line of each attribute, and finds what YAML itself lets pass."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.places: dict[TreePath, Place] = {}
        self.problems: list[Problem] = []
        self._open: list[int] = []

    def visit(self, node: yaml.Node, path: TreePath) -> None:
        import yaml

        if id(node) in self._open:
            self._complain(path, node, "refers to itself")
            return
        self._open.append(id(node))
        if isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.places[(*path, number)] = self._place(item)
                self.visit(item, (*path, number))
        elif "${" in node.value:
            self._check_interpolation(node, path)
        self._open.pop()

    def _visit_mapping(self, node: yaml.MappingNode, path: TreePath) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                self._visit_merged(value, path)
                continue
            if key.tag != "tag:yaml.org,2002:str":
                self._complain(path, key, f"'{getattr(key, 'value', key.id)}' is no attribute name; put it in quotes")
                continue
            name = key.value
            if name in seen:
                self._complain(
                    (*path, name), key, f"is given twice, in line {seen[name]} and in line {line}; remove one of them"
                )
            seen.setdefault(name, line)
            place = self._place(value)
            self.places[(*path, name)] = Place(place.file, line, place.text)
            self.visit(value, (*path, name))

    def _visit_merged(self, node: yaml.Node, path: TreePath) -> None:
        import yaml

        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            before = dict(self.places)
            self.visit(source, path)
            self.places |= before

    def _check_interpolation(self, node: yaml.ScalarNode, path: TreePath) -> None:
        from omegaconf import OmegaConf
        from omegaconf.errors import GrammarParseError

        try:
            OmegaConf.create({"value": node.value})
        except GrammarParseError as cause:
            self._complain(path, node, f"'{node.value}' is no valid interpolation: {str(cause).splitlines()[0]}")

    def _place(self, node: yaml.Node) -> Place:
        import yaml

        text = node.value if isinstance(node, yaml.ScalarNode) else None
        return Place(self.label, node.start_mark.line + 1, text)

    def _complain(self, path: TreePath, node: yaml.Node, message: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(where=dotted(path), file=self.label, line=line, message=message))


# --- overrides --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    """An override: what Hydra gets, and where it points."""

    argument: str
    path: TreePath
    text: str | None
    is_hydra_deletion: bool


def _parse_overrides(overrides: Sequence[str], data: Mapping[str, Any]) -> list[_Change]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if not overrides:
        return []
    parser, changes, problems = OverridesParser.create(), [], []
    for given in overrides:
        try:
            parsed = parser.parse_override(_quoted_where_needed(given))
        except HydraException:
            try:
                parsed = parser.parse_override(_quoted(given))
            except HydraException as cause:
                problems.append(_override_problem(given, f"is not understood: {str(cause).splitlines()[0]}"))
                continue
        if not parsed.key_or_group:
            problems.append(_override_problem(given, "names no attribute"))
            continue
        if parsed.is_sweep_override():
            problems.append(_override_problem(given, "holds several values; write a list as [a,b]"))
            continue
        try:
            changes.append(_change(given, parsed, data))
        except LookupError as cause:
            problems.append(_override_problem(given, str(cause.args[0]), str(cause.args[1])))
    if problems:
        raise ConfigError(problems)
    return changes


def _quoted_where_needed(text: str) -> str:
    """Quotes values that Hydra would take apart: schedules, tuples and layer slices."""
    value = text.partition("=")[2]
    return _quoted(text) if value.lstrip().startswith(("lambda ", "(")) else text


def _quoted(text: str) -> str:
    key, sign, value = text.partition("=")
    return key + sign + "'" + value.replace("'", "\\'") + "'" if sign and value else text


def _change(given: str, parsed: Override, data: Mapping[str, Any]) -> _Change:
    path: TreePath = tuple(int(part) if part.isdigit() else part for part in parsed.key_or_group.split("."))
    argument = str(parsed.input_line)
    composed_elsewhere = "defaults" in data or "/" in parsed.key_or_group or path[0] == "hydra" or parsed.package
    if not composed_elsewhere:
        present, _ = lookup(data, path)
        if parsed.is_delete() and not present:
            names = [dotted(place) for place in _leaves(data)]
            raise LookupError("cannot be deleted: the file does not have it", nearest_match(dotted(path), names) or "")
        if parsed.is_add() and present:
            raise LookupError(f"exists already; write {dotted(path)}=... without '+'", "")
        is_plain = not (parsed.is_delete() or parsed.is_add() or parsed.is_force_add())
        if is_plain and (not present or isinstance(parsed.value(), dict)):
            argument = f"++{argument}"  # Hydra's own '=' takes no attribute that the file lacks
    value = parsed.value()
    written = given.partition("=")[2]
    text = value if isinstance(value, str) else None if isinstance(value, list | dict) else written
    return _Change(argument, path, text, parsed.is_delete() and path[0] == "hydra")


def _leaves(values: Any, path: TreePath = ()) -> Iterator[TreePath]:
    if path:
        yield path
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, (*path, str(key)))


def _override_problem(given: str, message: str, nearest: str = "") -> Problem:
    return Problem(
        where=given.partition("=")[0].lstrip("+~"),
        file=COMMAND_LINE,
        message=f"'{given}' {message}",
        nearest=nearest or None,
    )


def _without_hydra_deletions(data: dict[str, Any], changes: Sequence[_Change]) -> dict[str, Any]:
    """Applies ``~hydra...`` to the user's own values: Hydra itself could not go on without that section."""
    for change in changes:
        if change.is_hydra_deletion:
            present, parent = lookup(data, change.path[:-1])
            if present and isinstance(parent, dict):
                parent.pop(change.path[-1], None)
    return data


def _with_run_dir(data: dict[str, Any]) -> dict[str, Any]:
    hydra = data.get("hydra")
    hydra = dict(hydra) if isinstance(hydra, Mapping) else {}
    run = hydra.get("run")
    run = dict(run) if isinstance(run, Mapping) else {}
    if run.get("dir") in (None, "None", ""):
        run["dir"] = DEFAULT_RUN_DIR
    return {**data, "hydra": {**hydra, "run": run}}


# --- Hydra ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Composed:
    config: DictConfig
    config_text: str
    hydra_text: str


def _compose(file: Path | None, data: dict[str, Any], changes: Sequence[_Change], sources: SourceMap) -> _Composed:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict, read_write
    from omegaconf.errors import OmegaConfBaseException

    # Hydra finds files by its own rules on names; handed over in memory, the user's file may have any name. Its
    # folder is still searched for what a `defaults` list names.
    name = f"__reidfw_{os.getpid()}"
    folder = file.parent if file is not None else Path.cwd()
    store = ConfigStore.instance()
    with _no_hydra_running():
        store.store(name=name, node=data)
        try:
            with initialize_config_dir(str(folder), job_name="reidfw", version_base=None):
                config = compose(name, [change.argument for change in changes], return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as cause:
            raise ConfigError([_compose_problem(cause, changes, sources)]) from cause
        finally:
            store.repo.pop(f"{name}.yaml", None)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.job.config_name = file.stem if file is not None else None
    user = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return _Composed(config, OmegaConf.to_yaml(user), OmegaConf.to_yaml(config.hydra))


@contextmanager
def _no_hydra_running() -> Iterator[None]:
    """Sets aside a Hydra application that may be running in this process."""
    from hydra.core.global_hydra import GlobalHydra

    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        GlobalHydra.instance().hydra = running


def _compose_problem(error: Exception, changes: Sequence[_Change], sources: SourceMap) -> Problem:
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    key = getattr(root, "full_key", None)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[0] if lines else type(error).__name__
    if len(changes) == 1 and not key:
        return _override_problem(changes[0].argument, f"cannot be applied: {message}")
    path = tuple(str(key).split(".")) if key else ()
    reason = str(root).splitlines()[0] if str(root) else message
    return sources.problem(path, f"Hydra does not take it: {reason}")


# --- interpolations, environment, expressions -------------------------------------------------------------------

_BARE_NAME = re.compile(r"(?<!\\)\$\{\s*([A-Za-z_]\w*)\s*\}")


class _Resolution:
    """Turns a composed configuration into plain values, and collects what cannot be resolved."""

    def __init__(self, sources: SourceMap) -> None:
        self.sources = sources
        self.problems: list[Problem] = []
        self._texts: dict[TreePath, str] = {}

    def read(self, config: DictConfig) -> dict[str, Any]:
        """All values but Hydra's own; of those only the run directory."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        raw = OmegaConf.to_container(config, resolve=False)
        assert isinstance(raw, dict)
        names = {str(key) for key in raw}
        raw = {
            str(key): value if key == "hydra" else self._with_environment(value, (str(key),), names)
            for key, value in raw.items()
        }
        run_dir = raw["hydra"]["run"]["dir"]
        raw["hydra"]["run"]["dir"] = self._with_environment(run_dir, ("hydra", "run", "dir"), names)
        root = OmegaConf.create(raw)
        holder = HydraConfig.instance()
        before = holder.cfg
        try:
            holder.cfg = config  # what a ${hydra:...} reads
            values = {str(key): self._value(root, key, (str(key),)) for key in root if key != "hydra"}
            values["hydra"] = {"run": {"dir": self._value(root.hydra.run, "dir", ("hydra", "run", "dir"))}}
        finally:
            holder.cfg = before
        return values

    def with_texts(self) -> SourceMap:
        """The places, with the texts of resolved interpolations put for the interpolations."""
        places = dict(self.sources.places)
        for path, text in self._texts.items():
            place = self.sources.place(path)
            places[path] = Place(place.file, place.line, text)
        return SourceMap(self.sources.file, places)

    def _with_environment(self, value: Any, path: TreePath, names: set[str]) -> Any:
        if isinstance(value, dict):
            return {key: self._with_environment(item, (*path, str(key)), names) for key, item in value.items()}
        if isinstance(value, list):
            return [self._with_environment(item, (*path, number), names) for number, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        wanted = [name for name in _BARE_NAME.findall(value) if name not in names]
        unset = [name for name in wanted if name not in os.environ]
        for name in unset:
            self._complain(path, f"the environment variable {name} is not set")
        if unset:
            return None
        return _BARE_NAME.sub(lambda match: match[0] if match[1] in names else f"${{oc.env:{match[1]}}}", value)

    def _value(self, node: Any, key: Any, path: TreePath) -> Any:
        from omegaconf import DictConfig, ListConfig, OmegaConf
        from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

        if len(path) > _MAX_DEPTH:
            return self._complain(path[:3], "refers to itself without end")
        try:
            interpolated = OmegaConf.is_interpolation(node, key)
            value = node[key]
        except MissingMandatoryValue:
            return self._complain(path, "needs a value ('???' stands for one to be given)")
        except InterpolationKeyError as cause:
            return self._complain(path, f"refers to something that does not exist: {str(cause).splitlines()[0]}")
        except (OmegaConfBaseException, RecursionError, ValueError, TypeError) as cause:
            return self._complain(path, f"cannot be resolved: {str(cause).splitlines()[0]}")
        if isinstance(value, DictConfig):
            return {str(name): self._value(value, name, (*path, str(name))) for name in value}
        if isinstance(value, ListConfig):
            return [self._value(value, number, (*path, number)) for number in range(len(value))]
        if interpolated:
            self._texts[path] = str(value)
        return parse_value(value) if isinstance(value, str) else value

    def _complain(self, path: TreePath, message: str) -> None:
        self.problems.append(self.sources.problem(path, message))
