"""The gallery index: what goes in comes out, copies are not doubled, and foreign files are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidfw_core.errors import DataError
from reidfw_core.gallery.engines import APPROXIMATE_FROM, is_approximate, search
from reidfw_core.gallery.index import (
    Entries,
    GalleryIndex,
    ModelStamp,
    added,
    check_model,
    load_index,
    removed,
    save_index,
)
from reidfw_core.imaging.spec import ImageSpec

SPEC = ImageSpec(height=64, width=32, channels=3, scale=1 / 127.5, offset=-1.0)
DIM = 4


def gallery(*names: str, seed: int = 0, metric: str = "cosine") -> GalleryIndex:
    """One image for each name; the letter before the underscore is its identity."""
    vectors = np.random.default_rng(seed).normal(size=(len(names), DIM)).astype(np.float32)
    return GalleryIndex(
        embeddings=vectors,
        identities=tuple(name.partition("_")[0] for name in names),
        paths=tuple(Path("/known") / f"{name}.jpg" for name in names),
        digests=tuple(f"digest of {name}" for name in names),
        model=ModelStamp(name="m.tflite", path=Path("/m.tflite"), sha256="ab" * 32, embedding_dim=DIM),
        metric=metric,
        spec=SPEC,
    )


def entries(*names: str, folder: str = "/known", digests: tuple[str, ...] | None = None) -> Entries:
    return Entries(
        embeddings=np.full((len(names), DIM), 7, np.float32),
        identities=tuple(name.partition("_")[0] for name in names),
        paths=tuple(Path(folder) / f"{name}.jpg" for name in names),
        digests=digests or tuple(f"digest of {name}" for name in names),
    )


def test_what_is_saved_is_loaded(tmp_path) -> None:
    index = gallery("a_1", "Jürgen 'x'_1", "b_2")
    path = tmp_path / "known people.reidgallery"
    save_index(index, path)
    again = load_index(path)
    np.testing.assert_array_equal(again.embeddings, index.embeddings)
    assert (again.identities, again.paths, again.digests) == (index.identities, index.paths, index.digests)
    assert (again.model, again.metric, again.spec, again.flip) == (index.model, index.metric, index.spec, index.flip)
    assert again.embeddings.dtype == np.float32


@given(
    old=st.lists(st.sampled_from("abcdef"), unique=True),
    new=st.lists(st.sampled_from("abcdefgh"), min_size=1),
)
def test_no_image_is_ever_in_a_gallery_twice(old: list[str], new: list[str]) -> None:
    index, num_new, num_replaced = added(gallery(*old), entries(*new))
    assert len(set(index.digests)) == len(index) == len(set(old) | set(new))
    assert num_new == len(set(new) - set(old))
    assert num_replaced == len(set(new) & set(old))
    for name, vector in zip(index.digests, index.embeddings, strict=True):
        assert (vector == 7).all() == (name.removeprefix("digest of ") in new)


def test_a_moved_copy_and_a_changed_file_replace_the_old_entry() -> None:
    moved, new, replaced = added(gallery("a_1", "b_1"), entries("a_1", folder="/elsewhere"))
    assert (new, replaced) == (0, 1)
    assert Path("/known/a_1.jpg") not in moved.paths
    changed, new, replaced = added(gallery("a_1", "b_1"), entries("a_1", digests=("another",)))
    assert (new, replaced) == (0, 1)
    assert len(changed) == 2


def test_removing(tmp_path) -> None:
    index = gallery("a_1", "a_2", "b_1")
    left, count = removed(index, identities=["a"])
    assert (left.identities, count) == (("b",), 2)
    np.testing.assert_array_equal(left.embeddings, index.embeddings[2:])
    left, count = removed(index, paths=[Path("/known/a_2.jpg")])
    assert (left.identities, count) == (("a", "b"), 1)
    with pytest.raises(DataError, match=r"'anna' \(did you mean 'anne'\?\)"):
        removed(gallery("anne_1"), identities=["anna"])
    with pytest.raises(DataError, match="no image"):
        removed(index, paths=[Path("/known/a_3.jpg")])


def test_embeddings_of_another_kind_are_refused() -> None:
    with pytest.raises(DataError, match="holds"):
        added(gallery("a_1"), replace(entries("b_1"), embeddings=np.zeros((1, 9), np.float32)))
    broken = replace(entries("b_1"), embeddings=np.full((1, DIM), np.nan, np.float32))
    with pytest.raises(DataError, match=r"NaN .* b_1\.jpg"):
        added(gallery("a_1"), broken)


def test_another_model_or_preprocessing_is_refused() -> None:
    index = gallery("a_1")
    check_model(index, "ab" * 32, SPEC)
    with pytest.raises(DataError, match=r"another model: m\.tflite \(abababababab\.\.\.\).*cdcdcdcdcdcd"):
        check_model(index, "cd" * 32, SPEC)
    with pytest.raises(DataError, match=r"other preprocessing: offset -1\.0 \(now 0\.0\)"):
        check_model(index, "ab" * 32, replace(SPEC, offset=0.0))


def test_files_that_are_no_gallery(tmp_path) -> None:
    good = tmp_path / "good.reidgallery"
    save_index(gallery("a_1", "b_1"), good)
    content = good.read_bytes()
    for size in (0, 1, 10, len(content) // 2, len(content) - 1):
        cut = tmp_path / "cut.reidgallery"
        cut.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"cut\.reidgallery"):
            load_index(cut)
    with pytest.raises(DataError, match="There is no gallery"):
        load_index(tmp_path / "none")
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, embeddings=np.zeros((1, 2)))
    with pytest.raises(DataError, match="not a gallery"):
        load_index(foreign)
    later = tmp_path / "later.npz"
    header = json.dumps({"format": "reidfw gallery", "version": 99}).encode()
    np.savez(later, header=np.frombuffer(header, np.uint8), embeddings=np.zeros((1, 2)))
    with pytest.raises(DataError, match="version 99"):
        load_index(later)


def test_a_gallery_cannot_run_code(tmp_path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, header=np.array([{"a": 1}], dtype=object), embeddings=np.zeros((1, 2)))
    with pytest.raises(DataError):
        load_index(path)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_search_finds_an_image_by_its_own_embedding(metric) -> None:
    index = gallery("a_1", "b_1", "c_1", metric=metric)
    indices, distances = search(index, index.embeddings[[2, 0]], 10)
    assert indices[:, 0].tolist() == [2, 0]
    assert indices.shape == (2, 3)
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-3)


def test_an_empty_gallery_cannot_be_searched() -> None:
    with pytest.raises(DataError, match="empty"):
        search(gallery(), np.zeros((1, DIM), np.float32), 1)
    with pytest.raises(ValueError, match="unknown engine"):
        search(gallery("a_1"), np.zeros((1, DIM), np.float32), 1, "quick")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_faiss_agrees_on_a_small_gallery(metric) -> None:
    pytest.importorskip("faiss")
    index = gallery(*(f"p{i}_1" for i in range(200)), metric=metric)
    query = np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)
    exact, found = search(index, query, 5), search(index, query, 5, "faiss")
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_allclose(found[1], exact[1], atol=1e-3)
    assert not is_approximate(index, "faiss")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_faiss_misses_little_in_a_large_gallery(metric) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    count = APPROXIMATE_FROM + 2000
    centres = rng.normal(size=(300, 32))
    vectors = (centres[rng.integers(0, 300, count)] + 0.4 * rng.normal(size=(count, 32))).astype(np.float32)
    small = gallery("a_1", metric=metric)
    index = replace(
        small,
        embeddings=vectors,
        identities=("a",) * count,
        paths=tuple(Path(f"/k/{i}") for i in range(count)),
        digests=tuple(map(str, range(count))),
    )
    query = vectors[::400] + 0.1 * rng.normal(size=(len(vectors[::400]), 32)).astype(np.float32)
    exact, found = search(index, query, 10)[0], search(index, query, 10, "faiss")[0]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert is_approximate(index, "faiss")
    assert recall >= 0.95
