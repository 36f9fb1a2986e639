"""``reidfw gallery``: build, add, search, remove, show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from reidfw_core.cli.adhoc import Embedded, opened_model
from reidfw_core.cli.render import messages, screen, show_json, shown_path, table
from reidfw_core.errors import DataError, StorageError, nearest_match
from reidfw_core.files import file_digest
from reidfw_core.gallery.engines import ENGINES, is_approximate
from reidfw_core.gallery.engines import search as search_index
from reidfw_core.gallery.index import (
    SHOWN_DIGITS,
    Entries,
    GalleryIndex,
    ModelStamp,
    added,
    check_model,
    load_index,
    relabelled,
    removed,
    save_index,
)
from reidfw_core.services.thresholds import read_threshold


def build(
    index: Path, images: Path, model: Path, arguments: Sequence[str], *, flip: bool, overwrite: bool = False
) -> None:
    """Embeds a folder of known identities and writes the gallery; an existing file is replaced only on demand.

    Raises:
        DataError: unusable images or model.
        StorageError: the folder of ``index`` does not exist, or the file exists already.
    """
    folder = index.expanduser().absolute().parent
    if not folder.is_dir():
        raise StorageError(f"There is no folder {folder} to write {index.name} to")
    if index.expanduser().exists() and not overwrite:
        raise StorageError(
            f"{index} exists already",
            hint=f"To put more images into it: reidfw gallery add {index} FOLDER. To replace it: --overwrite.",
        )
    with opened_model(model, images, arguments) as opened:
        found = opened.embed(images, "prediction_gallery", flip=flip)
        width = found.embeddings.shape[1]
        empty = GalleryIndex(
            embeddings=np.empty((0, width), np.float32),
            identities=(),
            paths=(),
            digests=(),
            model=ModelStamp(name=opened.path.name, path=opened.path, sha256=opened.sha256, embedding_dim=width),
            metric=opened.metric,
            spec=opened.spec,
            flip=flip,
        )
    gallery, num_new, _ = added(empty, _entries(found))
    replaces = index.expanduser().is_file()
    save_index(gallery, index.expanduser())
    copies = len(found.samples) - num_new
    _say(
        f"{'Replaced' if replaces else 'Wrote'} {shown_path(index)}: {len(gallery)} images of "
        f"{len(set(gallery.identities))} identities ({found.images_per_second:.0f} images/s)"
        + (f"; {copies} files are copies of others and left out" if copies else "")
    )


def add(index: Path, images: Path, model: Path | None, arguments: Sequence[str], *, relabel: bool = False) -> None:
    """Adds images; those that are in the gallery already are replaced.

    Raises:
        DataError: unusable images, another model or preprocessing than the gallery's, or images that the gallery
            knows under another identity, unless ``relabel``.
    """
    gallery = load_index(index)
    with _opened(gallery, images, model, arguments) as opened:
        check_model(gallery, opened.sha256, opened.spec)
        found = opened.embed(images, "prediction_gallery", flip=gallery.flip)
    entries = _entries(found)
    changed = relabelled(gallery, entries)
    if changed and not relabel:
        path, before, now = changed[0]
        raise DataError(
            f"{len(changed)} of {len(entries.paths)} images are in the gallery under another identity, for example "
            f"{path.name}: known as '{before}', now '{now}'",
            hint="To give them the new identity: --relabel. Nothing was changed.",
        )
    more, num_new, num_replaced = added(gallery, entries)
    save_index(more, index.expanduser())
    _say(f"{shown_path(index)}: {num_new} images added, {num_replaced} replaced; now {len(more)}")


def remove(index: Path, identities: Sequence[str], images: Sequence[Path]) -> None:
    """Removes identities with all their images, and single images.

    Raises:
        DataError: nothing is named, or something that is not in the gallery.
    """
    if not identities and not images:
        raise DataError("Nothing to remove", hint="Name it: --identity ID or --image PATH, each as often as needed.")
    gallery, count = removed(load_index(index), identities, images)
    save_index(gallery, index.expanduser())
    _say(f"{shown_path(index)}: {count} images removed, {len(gallery)} left")


def search(
    index: Path,
    images: Path,
    model: Path | None,
    arguments: Sequence[str],
    *,
    neighbours: int,
    threshold: str | None,
    engine: str,
    as_json: bool,
) -> None:
    """Names the nearest known identities of an image, or of each image of a folder.

    Raises:
        DataError: an empty gallery, unusable images, another model or preprocessing, an unusable threshold.
        ToolNotFound: the engine is not installed.
    """
    if engine not in ENGINES:
        near = nearest_match(engine, ENGINES)
        raise DataError(
            f"There is no engine '{engine}'" + (f" (did you mean '{near}'?)" if near else ""),
            hint="Engines: " + ", ".join(ENGINES),
        )
    gallery = load_index(index)
    if not len(gallery):
        raise DataError(f"The gallery {index} is empty", hint=f"Fill it: reidfw gallery add {index} FOLDER")
    with _opened(gallery, images, model, arguments) as opened:
        check_model(gallery, opened.sha256, opened.spec)
        limit = read_threshold(_number_or_path(threshold), gallery.metric, opened.path, flip=gallery.flip)
        found = opened.embed(images, "prediction_query", flip=gallery.flip)
    indices, distances = search_index(gallery, found.embeddings, neighbours, engine)
    rows = [
        {
            "query": str(query),
            "identity": gallery.identities[near[0]],
            "distance": float(row[0]),
            "same_identity": None if limit is None else bool(row[0] <= limit),
            "neighbours": [
                {"image": str(gallery.paths[i]), "identity": gallery.identities[i], "distance": float(distance)}
                for i, distance in zip(near, row, strict=True)
                if i >= 0
            ],
        }
        for query, near, row in zip(found.samples.paths, indices, distances, strict=True)
    ]
    approximate = is_approximate(gallery, engine)
    if as_json:
        show_json({"distance": gallery.metric, "threshold": limit, "approximate": approximate, "queries": rows})
        return
    if approximate:
        _say("The engine faiss searches approximately: a few of the nearest images may be missed.")
    _show(rows, gallery.metric, limit)


def show(index: Path, *, as_json: bool) -> None:
    """Tells what is in a gallery."""
    gallery = load_index(index)
    counts = Counter(gallery.identities)
    facts: dict[str, Any] = {
        "images": len(gallery),
        "identities": len(counts),
        "model": gallery.model.name,
        "model_path": str(gallery.model.path),
        "model_sha256": gallery.model.sha256,
        "embedding_dim": gallery.model.embedding_dim,
        "distance": gallery.metric,
        "flip": gallery.flip,
        "input": list(gallery.spec.shape),
    }
    if as_json:
        show_json({**facts, "images_of_identity": dict(sorted(counts.items()))})
        return
    rows = [(name.replace("_", " "), escape(str(value))) for name, value in facts.items()]
    console = screen()
    console.print(table(None, ("gallery", shown_path(index)), rows))
    console.print()
    console.print(table(None, ("identity", "images "), [(escape(n), str(c)) for n, c in sorted(counts.items())]))


def _opened(gallery: GalleryIndex, images: Path, model: Path | None, arguments: Sequence[str]) -> Any:
    """The model of the gallery, at the place given or where it lay when the gallery was built."""
    path = model if model is not None else gallery.model.path
    if not path.expanduser().is_file():
        raise DataError(
            f"The model of this gallery, {gallery.model.name} (SHA-256 {gallery.model.sha256[:SHOWN_DIGITS]}...), is "
            f"not at {path}",
            hint="Tell where it is: -m MODEL",
        )
    return opened_model(path, images, arguments)


def _entries(found: Embedded) -> Entries:
    return Entries(
        embeddings=found.embeddings,
        identities=found.samples.identities,
        paths=found.samples.paths,
        digests=tuple(file_digest(path) for path in found.samples.paths),
    )


def _number_or_path(text: str | None) -> float | Path | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return Path(text)
    if not value >= 0:
        raise DataError(f"--threshold {text}: a distance is 0 or more")
    return value


def _show(rows: Sequence[dict[str, Any]], metric: str, limit: float | None) -> None:
    verdicts = {None: "-", True: "yes", False: "no"}
    shown = [
        (
            "" if place else escape(Path(row["query"]).name),
            "" if place else escape(near["identity"]),
            f"{near['distance']:.4f}",
            "" if place else verdicts[row["same_identity"]],
            escape(f"{Path(near['image']).name} ({near['identity']})"),
        )
        for row in rows
        for place, near in enumerate(row["neighbours"])
    ]
    title = f"{metric} distance" + ("" if limit is None else f", same identity up to {limit:.4f}")
    screen().print(table(title, ("query", "identity", "distance ", "same identity", "nearest"), shown))


def _say(text: str) -> None:
    messages().print(escape(text), soft_wrap=True)
