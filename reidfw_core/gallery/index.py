"""The gallery index: embeddings of known images in one file, bound to the model that made them."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reidfw_core.errors import DataError, nearest_match
from reidfw_core.files import atomic_path
from reidfw_core.imaging.spec import ImageSpec

FORMAT = "reidfw gallery"
VERSION = 1

SHOWN_DIGITS = 12
"""Digits of a SHA-256 that messages show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStamp:
    """Which model made the embeddings.

    Attributes:
        name: for people.
        path: where it lay.
        sha256: of the file.
        embedding_dim: D.
    """

    name: str
    path: Path
    sha256: str
    embedding_dim: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GalleryIndex:
    """A gallery of N images.

    Attributes:
        embeddings: (N, D) float32 as the model gives them, not normalised.
        identities: one an image.
        paths: absolute file paths.
        digests: SHA-256 of the image files, by which copies are found.
        model: what made the embeddings.
        metric: ``cosine`` or ``euclidean``.
        spec: how the images were resized and rescaled.
        flip: whether the mirror image was embedded too and added.
    """

    embeddings: NDArray[np.float32]
    identities: tuple[str, ...]
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    model: ModelStamp
    metric: str
    spec: ImageSpec
    flip: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Sequence[int]) -> GalleryIndex:
        """The images at ``indices``, in that order."""
        chosen = list(indices)
        return replace(
            self,
            embeddings=self.embeddings[chosen],
            identities=tuple(self.identities[i] for i in chosen),
            paths=tuple(self.paths[i] for i in chosen),
            digests=tuple(self.digests[i] for i in chosen),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entries:
    """Images to put into a gallery: embeddings (N, D), and one identity, path and digest each."""

    embeddings: NDArray[np.float32]
    identities: tuple[str, ...]
    paths: tuple[Path, ...]
    digests: tuple[str, ...]


def added(index: GalleryIndex, entries: Entries) -> tuple[GalleryIndex, int, int]:
    """The gallery with more images.

    An image that is in it already, by its path or by its content, is replaced and not doubled; of copies among the
    new images the last one counts.

    Returns:
        The new gallery, how many images are new, and how many replaced one.

    Raises:
        DataError: embeddings of another length, or values that are not finite.
    """
    width = index.model.embedding_dim
    if entries.embeddings.ndim != 2 or entries.embeddings.shape[1] != width:
        raise DataError(f"embeddings of shape {entries.embeddings.shape}; this gallery holds (images, {width})")
    bad = np.flatnonzero(~np.isfinite(entries.embeddings).all(axis=1))
    if bad.size:
        names = ", ".join(entries.paths[i].name for i in bad[:5])
        raise DataError(
            f"The model gives NaN or infinite values for {bad.size} of {len(entries.paths)} images: {names}",
            hint="The training diverged or the model file is damaged.",
        )
    last = {digest: number for number, digest in enumerate(entries.digests)}
    fresh = sorted(last.values())
    new_paths = {entries.paths[i] for i in fresh}
    new_digests = {entries.digests[i] for i in fresh}
    kept = [
        i
        for i, (path, digest) in enumerate(zip(index.paths, index.digests, strict=True))
        if path not in new_paths and digest not in new_digests
    ]
    old = index.take(kept)
    result = replace(
        index,
        embeddings=np.concatenate([old.embeddings, entries.embeddings[fresh].astype(np.float32)]),
        identities=old.identities + tuple(entries.identities[i] for i in fresh),
        paths=old.paths + tuple(entries.paths[i] for i in fresh),
        digests=old.digests + tuple(entries.digests[i] for i in fresh),
    )
    replaced = min(len(index) - len(kept), len(fresh))
    return result, len(fresh) - replaced, replaced


def relabelled(index: GalleryIndex, entries: Entries) -> tuple[tuple[Path, str, str], ...]:
    """New images that the gallery knows, by path or content, under another identity: (new path, known as, new)."""
    known: dict[object, str] = dict(zip(index.paths, index.identities, strict=True))
    known |= dict(zip(index.digests, index.identities, strict=True))
    found = []
    for path, digest, identity in zip(entries.paths, entries.digests, entries.identities, strict=True):
        before = known.get(digest, known.get(path, identity))
        if before != identity:
            found.append((path, before, identity))
    return tuple(found)


def removed(
    index: GalleryIndex, identities: Sequence[str] = (), paths: Sequence[Path] = ()
) -> tuple[GalleryIndex, int]:
    """The gallery without all images of ``identities`` and without the images ``paths``; how many were removed.

    Raises:
        DataError: an identity or a path that is not in the gallery.
    """
    known = set(index.identities)
    for identity in identities:
        if identity not in known:
            _refuse(f"no image of identity '{identity}'", nearest_match(identity, sorted(known)))
    files = {str(path): path for path in index.paths}
    wanted = {path.expanduser().absolute() for path in paths}
    for path in wanted:
        if str(path) not in files:
            _refuse(f"no image {path}", nearest_match(str(path), sorted(files)))
    gone = set(identities)
    kept = [
        i
        for i, (identity, path) in enumerate(zip(index.identities, index.paths, strict=True))
        if identity not in gone and path not in wanted
    ]
    return index.take(kept), len(index) - len(kept)


def check_model(index: GalleryIndex, sha256: str, spec: ImageSpec) -> None:
    """Checks that new embeddings can be compared with those of the gallery.

    Raises:
        DataError: another model, or other preprocessing.
    """
    if index.model.sha256 != sha256:
        raise DataError(
            f"This gallery was made with another model: {index.model.name} "
            f"({index.model.sha256[:SHOWN_DIGITS]}...), not the one with SHA-256 {sha256[:SHOWN_DIGITS]}...",
            hint="Embeddings of two models cannot be compared. Build it anew: reidfw gallery build.",
        )
    if index.spec != spec:
        mine, other = dataclasses.asdict(index.spec), dataclasses.asdict(spec)
        differing = ", ".join(f"{name} {mine[name]} (now {other[name]})" for name in mine if mine[name] != other[name])
        raise DataError(
            f"This gallery was made with other preprocessing: {differing}",
            hint="Use the configuration that it was built with, or build it anew: reidfw gallery build.",
        )


def save_index(index: GalleryIndex, path: Path) -> None:
    """Writes the gallery under its final name only once it is complete. Raises StorageError."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model": {**dataclasses.asdict(index.model), "path": str(index.model.path)},
        "metric": index.metric,
        "spec": dataclasses.asdict(index.spec),
        "flip": index.flip,
        "identities": index.identities,
        "paths": [str(one) for one in index.paths],
        "digests": index.digests,
    }
    encoded = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, header=encoded, embeddings=index.embeddings)


def load_index(path: Path) -> GalleryIndex:
    """Reads a gallery.

    Raises:
        DataError: no such file, not a gallery, damaged, or of another version.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"There is no gallery {path}", hint=f"Build it: reidfw gallery build {path} FOLDER -m MODEL")
    try:
        with np.load(path, allow_pickle=False) as content:
            header = json.loads(bytes(content["header"]))
            embeddings = content["embeddings"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as cause:
        raise DataError(
            f"{path} is not a gallery, or it is damaged",
            hint="The gallery comes first: reidfw gallery COMMAND INDEX ... A damaged one is built anew.",
        ) from cause
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataError(f"{path} is not a gallery of reidfw")
    if header.get("version") != VERSION:
        raise DataError(f"{path} is a gallery of version {header.get('version')}; this reidfw reads {VERSION}")
    try:
        return _from_header(header, embeddings)
    except (KeyError, TypeError, ValueError) as cause:
        raise DataError(f"{path} is damaged: {cause!r}") from cause


def _from_header(header: dict[str, Any], embeddings: NDArray[np.float32]) -> GalleryIndex:
    model = ModelStamp(**{**header["model"], "path": Path(header["model"]["path"])})
    count = len(header["paths"])
    lengths = {len(header["identities"]), len(header["digests"]), count}
    if embeddings.shape != (count, model.embedding_dim) or lengths != {count}:
        raise ValueError(f"{embeddings.shape} embeddings for {count} images")
    return GalleryIndex(
        embeddings=embeddings,
        identities=tuple(header["identities"]),
        paths=tuple(Path(one) for one in header["paths"]),
        digests=tuple(header["digests"]),
        model=model,
        metric=header["metric"],
        spec=ImageSpec(**header["spec"]),
        flip=header["flip"],
    )


def _refuse(what: str, near: str | None) -> None:
    raise DataError(f"The gallery has {what}" + (f" (did you mean '{near}'?)" if near else ""))
