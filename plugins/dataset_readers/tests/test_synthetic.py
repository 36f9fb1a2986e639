"""What a user relies on in the drawn people."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from reidfw_dataset_readers.identity_prefix import IdentityPrefix
from reidfw_dataset_readers.synthetic import collection, reader
from reidfw_dataset_readers.synthetic.cache import cache_root
from reidfw_dataset_readers.synthetic.canvas import Canvas
from reidfw_dataset_readers.synthetic.collection import CollectionPlan, Picture, draw_picture, pictures_of
from reidfw_dataset_readers.synthetic.draws import Draws
from reidfw_dataset_readers.synthetic.people import person_of
from reidfw_dataset_readers.synthetic.reader import Synthetic

from reidfw_core.api import DataError, StorageError

SMALL = {"identities": 3, "images_per_identity": 4, "test_identities": 2, "image_height": 64, "image_width": 32}


def synthetic(cache: Path, **params) -> Synthetic:
    return Synthetic(Synthetic.Params(**{**SMALL, "cache_dir": cache, **params}))


def plan(**changes) -> CollectionPlan:
    defaults = Synthetic.Params().model_dump(exclude={"cache_dir", "drawing_seed"})
    return CollectionPlan(**{**defaults, "seed": 20240, **changes})


class TestSamples:
    def test_roles(self, tmp_path):
        component = synthetic(tmp_path)
        training = component.read_samples(root=None, role="training")
        query = component.read_samples(root=None, role="test_query")
        gallery = component.read_samples(root=None, role="test_gallery")
        assert (len(training), len(query), len(gallery)) == (3 * 4, 2 * 2, 2 * 2)
        assert component.read_samples(root=None, role="quantization").paths == training.paths
        assert component.read_samples(root=None, role="prediction_query").paths == query.paths
        assert component.read_samples(root=None, role="prediction_gallery").paths == gallery.paths
        assert component.read_samples(root=None, role="quantization").role == "quantization"

    def test_training_and_test_identities_differ_and_queries_can_be_found(self, tmp_path):
        component = synthetic(tmp_path)
        training, query, gallery = (
            set(component.read_samples(root=None, role=role).identities)
            for role in ("training", "test_query", "test_gallery")
        )
        assert training == {"p0001", "p0002", "p0003"}
        assert query == gallery == {"p0004", "p0005"}

    def test_files_are_images_in_the_format_that_users_write_themselves(self, tmp_path):
        samples = synthetic(tmp_path).read_samples(root=None, role="training")
        assert samples.paths[0].name == "p0001_00.jpg"
        with Image.open(samples.paths[0]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 64))
        again = IdentityPrefix().read_samples(root=samples.root, role="training")
        assert (again.paths, again.identities) == (samples.paths, samples.identities)

    def test_sorted_by_name(self, tmp_path):
        names = [path.name for path in synthetic(tmp_path).read_samples(root=None, role="training").paths]
        assert names == sorted(names)

    def test_no_validation_part(self, tmp_path):
        with pytest.raises(DataError, match="no validation images") as caught:
            synthetic(tmp_path).read_samples(root=None, role="validation")
        assert "validation_split" in caught.value.hint

    def test_a_path_is_refused_rather_than_ignored(self, tmp_path):
        with pytest.raises(DataError, match="draws its own images") as caught:
            synthetic(tmp_path).read_samples(root=tmp_path, role="training")
        assert "identity_prefix" in caught.value.hint

    def test_a_gallery_must_remain(self):
        with pytest.raises(ValidationError, match="so that a gallery remains"):
            Synthetic.Params(images_per_identity=4, query_images=4)


class TestCache:
    def test_drawn_once(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO):
            first = synthetic(tmp_path).read_samples(root=None, role="training")
        assert caplog.text.count("Drew 20 images of people") == 1
        stamps = [path.stat().st_mtime_ns for path in first.paths]
        caplog.clear()
        again = synthetic(tmp_path)
        with caplog.at_level(logging.INFO):
            for role in ("training", "test_query", "test_gallery"):
                again.read_samples(root=None, role=role)
        assert [path.stat().st_mtime_ns for path in first.paths] == stamps
        assert [record.levelname for record in caplog.records] == ["INFO"]
        assert str(tmp_path) in caplog.text

    def test_each_setting_has_a_folder_of_its_own(self, tmp_path):
        settings = [{}, {"drawing_seed": 1}, {"image_height": 48}, {"cameras": 2}, {"camera_strength": 0.5}]
        settings += [{"lookalikes": 2}, {"query_images": 1}, {"identities": 2}, {"images_per_identity": 5}]
        for setting in settings:
            synthetic(tmp_path, **setting).read_samples(root=None, role="training")
        assert len(list(tmp_path.iterdir())) == len(settings)

    def test_a_change_of_the_drawing_code_is_not_served_from_the_cache(self, monkeypatch):
        before = plan().digest
        monkeypatch.setattr(collection, "DRAWING_VERSION", collection.DRAWING_VERSION + 1)
        assert plan().digest != before

    @pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
    def test_an_interrupted_drawing_leaves_nothing(self, tmp_path, monkeypatch, failure):
        drawn = []

        def stop_at_the_fifth(a_plan, picture):
            if len(drawn) == 4:
                raise failure
            drawn.append(picture)
            return draw_picture(a_plan, picture)

        monkeypatch.setattr(collection, "draw_picture", stop_at_the_fifth)
        with pytest.raises(failure):
            synthetic(tmp_path).read_samples(root=None, role="training")
        assert len(drawn) == 4
        assert list(tmp_path.iterdir()) == []
        monkeypatch.undo()
        assert len(synthetic(tmp_path).read_samples(root=None, role="training")) == 12

    def test_missing_images_are_noticed(self, tmp_path):
        samples = synthetic(tmp_path).read_samples(root=None, role="training")
        samples.paths[3].unlink()
        with pytest.raises(DataError, match="1 of 12 drawn images are missing") as caught:
            synthetic(tmp_path).read_samples(root=None, role="training")
        assert "Delete the folder" in caught.value.hint

    def test_a_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StorageError) as caught:
            synthetic(tmp_path / "file" / "cache").read_samples(root=None, role="training")
        assert "REIDFW_CACHE" in caught.value.hint

    def test_environment_variable(self, tmp_path, monkeypatch):
        monkeypatch.setenv("REIDFW_CACHE", str(tmp_path / "mine"))
        samples = Synthetic(Synthetic.Params(**SMALL)).read_samples(root=None, role="training")
        assert samples.root.is_relative_to(tmp_path / "mine")

    @pytest.mark.parametrize(
        ("platform", "environment", "expected"),
        [
            ("linux", {}, "HOME/.cache/reidfw"),
            ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/reidfw"),
            ("linux", {"XDG_CACHE_HOME": "relative"}, "HOME/.cache/reidfw"),  # the XDG standard says: ignore it
            ("darwin", {"XDG_CACHE_HOME": "/x"}, "HOME/Library/Caches/reidfw"),
            ("win32", {"LOCALAPPDATA": "/local"}, "/local/reidfw"),
            ("win32", {}, "HOME/AppData/Local/reidfw"),
            ("win32", {"LOCALAPPDATA": "/local", "REIDFW_CACHE": "/own"}, "/own"),
        ],
    )
    @pytest.mark.skipif(sys.platform == "win32", reason="the paths are written as on other systems")
    def test_platform_folders(self, platform, environment, expected):
        assert str(cache_root(environment, platform)) == expected.replace("HOME", str(Path.home()))

    def test_no_home_folder(self, monkeypatch):
        def no_home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        with pytest.raises(StorageError, match="no home folder"):
            cache_root({}, "linux")


class TestPictures:
    def test_same_seed_same_pixels(self):
        for picture in list(pictures_of(plan()))[::97]:
            first, second = draw_picture(plan(), picture), draw_picture(plan(), picture)
            assert first.dtype == np.uint8
            assert first.shape == (128, 64, 3)
            np.testing.assert_array_equal(first, second)

    def test_pixels_are_the_same_on_every_platform(self):
        """Golden digest. A deliberate change of the drawing raises DRAWING_VERSION and renews it."""
        digest = hashlib.sha256()
        for picture in list(pictures_of(plan()))[::61]:
            digest.update(draw_picture(plan(), picture).tobytes())
        assert (collection.DRAWING_VERSION, digest.hexdigest()[:16]) == (1, "a6815f8ac6e63867")

    def test_other_seeds_identities_and_images_give_other_pixels(self):
        shown = [
            draw_picture(plan(), Picture("training", 0, 0, 0)),
            draw_picture(plan(seed=1), Picture("training", 0, 0, 0)),
            draw_picture(plan(), Picture("training", 1, 0, 0)),
            draw_picture(plan(), Picture("training", 0, 1, 0)),
            draw_picture(plan(), Picture("training", 0, 0, 1)),
        ]
        for index, one in enumerate(shown):
            for other in shown[index + 1 :]:
                assert np.mean(one != other) > 0.5

    @pytest.mark.parametrize(("height", "width"), [(32, 16), (33, 17), (64, 64), (200, 60), (40, 120)])
    def test_any_size(self, height, width):
        sized = plan(image_height=height, image_width=width)
        for picture in list(pictures_of(sized))[:12]:
            assert draw_picture(sized, picture).shape == (height, width, 3)

    def test_queries_and_gallery_of_a_person_come_from_different_cameras(self):
        cameras: dict[tuple[str, int], set[int]] = {}
        for picture in pictures_of(plan()):
            cameras.setdefault((picture.part, picture.identity), set()).add(picture.camera)
        for identity in range(64, 64 + 24):
            assert not cameras["query", identity] & cameras["gallery", identity]

    def test_one_camera_is_enough(self):
        assert {picture.camera for picture in pictures_of(plan(cameras=1))} == {0}

    def test_lookalikes_wear_tops_of_one_colour_in_different_patterns(self):
        people = [person_of(number, seed=3, lookalikes=4) for number in range(8)]
        for group in (people[:4], people[4:]):
            assert len({person.top.colour for person in group}) == 1
            assert len({person.top.pattern for person in group}) == 4

    def test_people_differ(self):
        assert len({person_of(number, seed=20240, lookalikes=1) for number in range(500)}) == 500

    def test_shapes_outside_the_canvas_change_nothing(self):
        pixels = np.full((8, 8, 3), 0.5, np.float32)
        canvas = Canvas(pixels)
        canvas.capsule((-30, -30), (-20, -20), 2, 2, (1, 0, 0))
        canvas.ellipse((50, 4), 3, 3, (1, 0, 0))
        canvas.slab((4, 40), (4, 50), 3, 3, (1, 0, 0))
        assert np.all(pixels == 0.5)

    def test_shapes_cover_their_area(self):
        pixels = np.zeros((64, 64, 3), np.float32)
        Canvas(pixels, light_from=0.0).slab((32, 12), (32, 52), 10, 10, (1, 1, 1), flat=True)
        assert pixels[..., 0].sum() == pytest.approx(20 * 40, rel=0.01)
        disc = np.zeros((64, 64, 3), np.float32)
        Canvas(disc).capsule((32, 32), (32, 32), 12, 12, (1, 1, 1))
        assert np.count_nonzero(disc[..., 0] > 0.4) == pytest.approx(np.pi * 12 * 12, rel=0.02)

    def test_draws_are_those_of_pcg64(self):
        """Golden values: the streams that NumPy guarantees."""
        draws = Draws(1, 2, 3)
        expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence((1, 2, 3)))).random(3)
        assert [draws.uniform(0.0, 1.0) for _ in range(3)] == expected.tolist()
        assert all(2 <= draws.integer(2, 4) <= 4 for _ in range(100))
        assert sorted(draws.shuffled(range(20))) == list(range(20))


class TestDifficulty:
    """Simple image features must not solve the default collection, or a training would show nothing."""

    @pytest.fixture(scope="class")
    def drawn(self):
        pictures = list(pictures_of(plan()))
        return tuple(_draw([picture for picture in pictures if picture.part == part]) for part in ("query", "gallery"))

    def test_raw_thumbnails_are_not_enough(self, drawn):
        score = _mean_average_precision(*((_thumbnails(images), names) for images, names in drawn))
        assert 0.1 < score < 0.45

    def test_colour_histograms_are_not_enough(self, drawn):
        score = _mean_average_precision(*((_colour_histograms(images), names) for images, names in drawn))
        assert 0.1 < score < 0.45

    def test_test_people_wear_different_outfits(self):
        """So that there is something to learn: no two of them look alike to a camera without faults."""
        people = [person_of(number, seed=20240, lookalikes=1) for number in range(64, 88)]
        outfits = {(person.top.colour, person.top.pattern, person.bottom.colour, person.skin) for person in people}
        assert len(outfits) == len(people)


def _draw(pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([draw_picture(plan(), picture) for picture in pictures]) / 255.0
    return images, np.array([picture.identity for picture in pictures])


def _thumbnails(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), 16, 8, 8, 8, 3).mean(axis=(2, 4)).reshape(len(images), -1)


def _colour_histograms(images: np.ndarray) -> np.ndarray:
    bins = np.minimum((images * 4).astype(int), 3) @ np.array([16, 4, 1])
    counts = np.stack([np.bincount(image.ravel(), minlength=64) for image in bins])
    return np.sqrt(counts)


def _mean_average_precision(query: tuple[np.ndarray, np.ndarray], gallery: tuple[np.ndarray, np.ndarray]) -> float:
    """Cosine distance, every gallery image counts; written for this test alone."""
    (queries, query_names), (candidates, names) = query, gallery
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    candidates = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    scores = []
    for row, name in zip(queries @ candidates.T, query_names, strict=True):
        ranks = np.flatnonzero((names == name)[np.argsort(-row, kind="stable")]) + 1
        scores.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(scores))


def test_roles_cover_all_but_validation():
    assert set(reader.PART_OF_ROLE) == {
        "training", "quantization", "test_query", "test_gallery", "prediction_query", "prediction_gallery",
    }  # fmt: skip
