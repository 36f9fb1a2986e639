"""``reidfw embed``: the vectors themselves, for whoever wants to work with them elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from reidfw_core.cli.adhoc import Embedded, opened_model
from reidfw_core.cli.render import screen, shown_path
from reidfw_core.errors import DataError, StorageError, ToolNotFound, nearest_match
from reidfw_core.files import atomic_path


def embed(images: Path, model: Path, output: Path, arguments: Sequence[str], *, flip: bool) -> None:
    """Embeds all images of a folder and writes a table of vectors.

    Args:
        images: a folder, or one image.
        model: the model file.
        output: ``.npz``, ``.parquet`` or ``.csv``; an existing file is replaced once the new one is complete.
        arguments: a configuration file and overrides, both optional.
        flip: add the embedding of the mirror image.

    Raises:
        DataError: unknown suffix, unusable images or model.
        StorageError: the folder of ``output`` does not exist.
        ToolNotFound: a package for the format is missing.
    """
    write = _writer(output)
    with opened_model(model, images, arguments) as opened:
        found = opened.embed(images, "prediction_query", flip=flip)
        facts = {
            "model": opened.path.name,
            "model_sha256": opened.sha256,
            "kernels": opened.runner.kernels,
            "preprocessing": asdict(opened.spec),
            "flip": flip,
        }
    with atomic_path(output) as temporary:
        write(found, facts, temporary)
    screen().print(
        f"{len(found.samples)} embeddings of length {found.embeddings.shape[1]} in {shown_path(output)} "
        f"({found.images_per_second:.0f} images/s, {facts['kernels']})",
        soft_wrap=True,
    )


Writer = Callable[[Embedded, dict[str, Any], Path], None]


def _writer(output: Path) -> Writer:
    """What writes this kind of file; all that can be known to fail is found before the first image."""
    writers: dict[str, Writer] = {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv}
    suffix = output.suffix.lower()
    if suffix not in writers:
        near = nearest_match(suffix, writers)
        raise DataError(
            f"{output}: embeddings are written as {', '.join(writers)}" + (f" (did you mean '{near}'?)" if near else "")
        )
    folder = output.expanduser().absolute().parent
    if not folder.is_dir():
        raise StorageError(f"There is no folder {folder} to write {output.name} to")
    if suffix == ".parquet":
        _pyarrow()
    return writers[suffix]


def _write_npz(found: Embedded, facts: dict[str, Any], path: Path) -> None:
    samples = found.samples
    with path.open("wb") as file:
        np.savez(
            file,
            embeddings=found.embeddings,
            identities=np.array(samples.identities),
            paths=np.array([str(one) for one in samples.paths]),
            cameras=np.array(samples.cameras if samples.cameras is not None else [""] * len(samples)),
            header=np.array(json.dumps(facts)),
        )


def _write_parquet(found: Embedded, facts: dict[str, Any], path: Path) -> None:
    pyarrow, parquet = _pyarrow()
    samples = found.samples
    vectors = pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(found.embeddings.ravel(), type=pyarrow.float32()), found.embeddings.shape[1]
    )
    table = pyarrow.table(
        {
            "path": [str(one) for one in samples.paths],
            "identity": list(samples.identities),
            "camera": list(samples.cameras) if samples.cameras is not None else [None] * len(samples),
            "embedding": vectors,
        }
    )
    parquet.write_table(table.replace_schema_metadata({"reidfw": json.dumps(facts)}), path)


def _write_csv(found: Embedded, facts: dict[str, Any], path: Path) -> None:  # noqa: ARG001 (a CSV has no place for facts)
    samples = found.samples
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "identity", "camera", *(f"e{i}" for i in range(found.embeddings.shape[1]))])
        for number, one in enumerate(samples.paths):
            camera = "" if samples.cameras is None else samples.cameras[number]
            values = [f"{value:.9g}" for value in found.embeddings[number]]
            table.writerow([one, samples.identities[number], camera, *values])


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as cause:
        raise ToolNotFound(
            f"Parquet files need the package pyarrow, which cannot be imported: {cause}",
            hint='Run: pip install "reidfw-core[parquet]", or write an .npz file.',
        ) from cause
    return pyarrow, parquet
