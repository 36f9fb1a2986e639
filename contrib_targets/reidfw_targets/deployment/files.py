"""Putting generated files and ST's runtime library into the C project."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reidfw_core.api import DataError, atomic_path
from reidfw_targets.deployment.project import Template

RUNTIME_FOLDER = Path("Middlewares", "ST", "AI")
"""Where an installation of ST Edge AI Core keeps its runtime library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A file or folder to copy."""

    source: Path
    destination: Path
    folder: bool


def plan_copies(templates: Sequence[Template], generated: Sequence[Path], runtime: Path) -> tuple[Copy, ...]:
    """Finds what each template stands for.

    Args:
        templates: the C project's.
        generated: folders with generated files, the first one first.
        runtime: ST's runtime library; folders come from there.

    Raises:
        DataError: something is not there; all of it is named. A file that the project has from an earlier deployment
            does not count: it would belong to another model.
    """
    copies: list[Copy] = []
    missing: list[str] = []
    for template in templates:
        name = template.source or template.destination.name
        found = _folder(template, runtime, generated) if template.folder else _file(name, generated)
        if found is None:
            missing.append(f"{name} (for {template.destination})")
        else:
            copies.append(Copy(source=found, destination=template.destination, folder=template.folder))
    if missing:
        listed = "\n".join(f"  - {one}" for one in missing)
        raise DataError(
            f"The C project's templates ask for what was neither generated nor is part of ST's runtime:\n{listed}",
            hint=f"Looked in {', '.join(map(str, [*generated, runtime]))}. Correct the templates, or use the version "
            "of ST Edge AI Core that the project was made for.",
        )
    return tuple(copies)


def copy_all(copies: Sequence[Copy]) -> None:
    """Copies; each file is whole or as before. Weights get the suffix ``.bin`` too, which the programmer wants.

    Raises:
        StorageError: a file cannot be written.
    """
    for one in copies:
        if one.folder:
            for file in sorted(path for path in one.source.rglob("*") if path.is_file()):
                _copy_file(file, one.destination / file.relative_to(one.source))
        else:
            _copy_file(one.source, one.destination)
            if one.destination.suffix == ".raw":
                _copy_file(one.source, one.destination.with_suffix(".bin"))


def _copy_file(source: Path, destination: Path) -> None:
    with atomic_path(destination) as temporary:
        shutil.copyfile(source, temporary)


def _file(name: str, generated: Sequence[Path]) -> Path | None:
    wanted = Path(name)
    names = [wanted, wanted.with_suffix(".raw")] if wanted.suffix == ".bin" else [wanted]
    return next((folder / one for folder in generated for one in names if (folder / one).is_file()), None)


def _folder(template: Template, runtime: Path, generated: Sequence[Path]) -> Path | None:
    """The folder that the end of the destination's path names, such as ``Lib/GCC/ARMCortexM55``."""
    if template.source:
        return next(
            (root / template.source for root in (*generated, runtime) if (root / template.source).is_dir()), None
        )
    parts = template.destination.parts
    for length in range(len(parts) - 1, 0, -1):
        candidate = runtime.joinpath(*parts[-length:])
        if candidate.is_dir():
            return candidate
    return None
