"""The search for the layers to keep: the fewest that are enough, found with few scores."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from reidfw_core.artifacts import PrecisionTrial, QuantizedModel, RetrievalData
from reidfw_core.bus import HookBus
from reidfw_core.components import Quantizer, Target
from reidfw_core.config.binding import BoundComponent
from reidfw_core.config.sections import EvaluationSection, GeneralSection, PreprocessingSection
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.markers import hookimpl
from reidfw_core.services.sensitivity import CHANCE, Probe, SearchInput, keep_worst_layers
from reidfw_core.types import ModelFile, ModelFormat, QuantizedLayer, Samples, TargetInfo

FLOAT, INTEGER = ModelFormat.parse("fake/float32"), ModelFormat.parse("fake/int8")

NUM_IDENTITIES = 6


@dataclass
class FakeVariants:
    """A model is a JSON file with the noise that each of its layers adds; a kept one adds less, or none."""

    model: ModelFile
    noise: tuple[float, ...]
    precisions: tuple[str, ...] = ("int16", "float")
    written: int = 0

    @property
    def layers(self) -> tuple[QuantizedLayer, ...]:
        return tuple(
            QuantizedLayer(
                name=f"layer{place}",
                operator="CONV",
                precisions=self.precisions if place % 3 else self.precisions[-1:],
                quantized_bytes=10,
                float_bytes=40,
            )
            for place in range(len(self.noise))
        )

    def write_variant(self, kept: Collection[str], precision: str, path: Path) -> ModelFile:
        left = {"int16": 0.5, "float": 0.0}[precision]
        noise = [
            value * (left if layer.name in kept and precision in layer.precisions else 1.0)
            for layer, value in zip(self.layers, self.noise, strict=True)
        ]
        self.written += 1
        path.write_text(json.dumps(noise), encoding="utf-8")
        return replace(self.model, path=path)


class FakeQuantizer(Quantizer):
    """Hands out the variants that it was given."""

    consumes = frozenset({FLOAT})
    produces = INTEGER
    variants: FakeVariants

    @hookimpl
    def inspect_model(self, model: ModelFile) -> ModelFile:
        return model

    @hookimpl
    def quantize_model(self, model: ModelFile) -> ModelFile:
        return model

    @hookimpl
    def open_variants(self) -> FakeVariants:
        return self.variants


class FakeRunner:
    """Gives the colour of an image as one of 6 directions, turned by the noise."""

    input_shape = (8, 8, 3)
    embedding_dim = NUM_IDENTITIES
    format = INTEGER
    kernels = "fake"

    def __init__(self, noise: float) -> None:
        self._noise = noise

    def embed(self, images: np.ndarray) -> np.ndarray:
        identities = np.rint(images[:, 0, 0, 0] / 40).astype(int)
        numbers = np.rint(images[:, 0, 0, 1]).astype(int)
        found = np.eye(NUM_IDENTITIES, dtype=np.float32)[identities]
        for row, (identity, number) in enumerate(zip(identities, numbers, strict=True)):
            direction = np.random.default_rng([identity, number]).normal(size=NUM_IDENTITIES)
            found[row] += self._noise * direction
        return found.astype(np.float32)

    def close(self) -> None:
        pass


class FakeTarget(Target):
    """Runs the files of ``FakeVariants``."""

    accepts = frozenset({FLOAT, INTEGER})

    @hookimpl
    def describe_target(self) -> TargetInfo:
        return TargetInfo()

    @hookimpl
    def open_runner(self, model: ModelFile) -> FakeRunner:
        return FakeRunner(sum(json.loads(model.path.read_text(encoding="utf-8"))))


def drawn(folder: Path, role, frames: range) -> Samples:
    """A plain image an identity and frame; its colour tells both."""
    folder.mkdir()
    paths, identities = [], []
    for identity in range(NUM_IDENTITIES):
        for frame in frames:
            path = folder / f"{identity}_{frame}.png"
            Image.new("RGB", (8, 8), (40 * identity, frame, 0)).save(path)
            paths.append(path)
            identities.append(str(identity))
    return Samples(role=role, root=folder, paths=tuple(paths), identities=tuple(identities))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> RetrievalData:
    root = tmp_path_factory.mktemp("images")
    return RetrievalData(
        name="test_set",
        query=drawn(root / "query", "test_query", range(3)),
        gallery=drawn(root / "gallery", "test_gallery", range(3, 9)),
    )


def search(data: RetrievalData, folder: Path, noise: tuple[float, ...], limit: float, **options) -> tuple:
    """Quantized model after the search, the search, and the variants that it made."""
    float_file, file = folder / "float.fake", folder / "model.fake"
    float_file.write_text("[0.0]", encoding="utf-8")
    file.write_text(json.dumps(noise), encoding="utf-8")
    pair = QuantizedModel(
        model=ModelFile(path=file, format=INTEGER, name="fake"),
        source=ModelFile(path=float_file, format=FLOAT, name="fake"),
        fine_tuned_from=options.pop("fine_tuned_from", None),
    )
    quantizer, target, bus = FakeQuantizer(), FakeTarget(), HookBus()
    quantizer.variants = FakeVariants(pair.model, noise, options.pop("precisions", ("int16", "float")))
    bus.add(quantizer, "fake")
    bus.add(target, "fake host")
    context = RunContext(run_dir=folder, saved_models_dir=folder, logs_dir=folder, seed=1, bus=bus)
    bound = [
        BoundComponent(kind=one.kind, name=name, distribution="fake", version="1", component=one)
        for one, name in ((quantizer, "fake"), (target, "fake host"))
    ]
    preprocessing = PreprocessingSection.model_validate(
        {
            "rescaling": {"scale": 1, "offset": 0},
            "resizing": {"aspect_ratio": "fit", "interpolation": "nearest"},
            "color_mode": "rgb",
        }
    )
    result = keep_worst_layers(
        SearchInput(
            pair=pair,
            probe=Probe(quantizer=bound[0], target=bound[1], preprocessing=preprocessing, general=GeneralSection()),
            data=data,
            samples=data.gallery,
            evaluation=EvaluationSection(),
            max_map_drop=limit,
            **options,
        ),
        context,
    )
    assert {path.name for path in folder.iterdir()} == {"float.fake", "model.fake"}, "nothing is left over"
    assert result.search is not None
    return result, result.search, quantizer.variants


def noise_of(result: QuantizedModel) -> list[float]:
    found: list[float] = json.loads(result.model.path.read_text(encoding="utf-8"))
    return found


def test_within_the_limit_nothing_is_searched(data, tmp_path) -> None:
    result, found, variants = search(data, tmp_path, (0.01, 0.02), 1.0)
    assert found.reached
    assert found.float_map == found.chosen.mean_average_precision == 1.0
    assert (found.costs, len(found.trials), variants.written) == ((), 1, 0)
    assert noise_of(result) == [0.01, 0.02]


def test_the_limit_counts_from_the_model_before_a_fine_tuning(data, tmp_path) -> None:
    given = tmp_path.with_name("given.fake")
    given.write_text("[4.0]", encoding="utf-8")
    _, fine, _ = search(data, tmp_path, (0.01,), 1.0, fine_tuned_from=ModelFile(path=given, format=FLOAT, name="fake"))
    assert fine.float_map < 0.9 < fine.chosen.mean_average_precision
    assert fine.chosen.drop < -10


def test_the_layer_to_blame_is_kept_alone(data, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    result, found, _ = search(data, tmp_path, (0.01, 0.02, 0.03, 3.0, 0.01, 0.02, 0.01, 0.02), 0.5)
    assert found.trials[0].drop > 10
    assert found.reached
    assert (found.chosen.num_kept, found.chosen.precision) == (1, "float")
    assert [cost.layer.name for cost in found.costs[:2]] == ["layer3", "layer2"]
    assert [cost.kept_at for cost in found.costs] == ["float"] + [None] * 7
    assert noise_of(result)[3] == 0
    assert "1 of 8 layers stay at float: layer3" in caplog.text
    # all quantized; all at int16 (not enough: layer3 cannot be kept there); all, then 1 layer in float
    assert [(trial.precision, trial.num_kept) for trial in found.trials] == [
        (None, 0),
        ("int16", 5),
        ("float", 8),
        ("float", 1),
    ]


def test_the_cheaper_precision_where_it_is_enough(data, tmp_path) -> None:
    noise = (0.0, 0.3, 0.0, 0.0)
    _, found, _ = search(data, tmp_path, noise, 0.5)
    assert found.trials[0].drop > 0.5
    assert (found.chosen.num_kept, found.chosen.precision) == (1, "int16")
    _, found, _ = search(data, tmp_path, noise, 0.5, keep_at="float")
    assert {trial.precision for trial in found.trials} == {None, "float"}
    assert (found.chosen.num_kept, found.chosen.precision) == (1, "float")


def test_a_limit_out_of_reach_keeps_the_best_and_warns(data, tmp_path, caplog) -> None:
    noise = (4.0, 4.0, 4.0, 4.0)  # layer0 and layer3 cannot be kept at int16
    result, found, _ = search(data, tmp_path, noise, 0.1, keep_at="int16")
    assert not found.reached
    assert found.chosen.drop <= min(trial.drop for trial in found.trials) + CHANCE
    assert "max_map_drop 0.1 cannot be kept" in caplog.text
    assert f"loses {found.chosen.drop:.2f} points" in caplog.text
    assert noise_of(result) == ([4.0, 2.0, 2.0, 4.0] if found.chosen.num_kept else list(noise))


def scripted(drops: dict[tuple[str | None, int], float], layers: int, limit: float, monkeypatch, data, folder) -> tuple:
    """A search in which keeping so many layers at a precision loses what ``drops`` says for the next number below."""
    from reidfw_core.services import sensitivity

    def score(self, model, num_kept: int, precision: str | None) -> PrecisionTrial:
        at = max(count for name, count in drops if name == precision and count <= num_kept)
        drop = drops[precision, at]
        trial = PrecisionTrial(
            num_kept=num_kept, precision=precision, mean_average_precision=0.9 - drop / 100, drop=drop
        )
        self._trials.append(trial)
        return trial

    monkeypatch.setattr(sensitivity._Search, "score", score)
    result, found, _ = search(data, folder, tuple(0.001 * (1 + place) for place in range(layers)), limit)
    return result, found.chosen, found


NO_INT16 = {("int16", 0): 20.0}


@pytest.mark.parametrize(
    ("drops", "limit", "expected"),
    [
        # a float model with integer input misses 0 by a hair: neither all layers nor any for hundredths of a point
        ({(None, 0): 0.03, ("int16", 0): 0.001, ("float", 0): 0.001}, 0, (None, 0)),
        ({(None, 0): 5.0, ("int16", 0): 5.0, ("int16", 2): 0.08, ("float", 0): 0.001}, 0, ("int16", 2)),
        ({(None, 0): 5.0, **NO_INT16, ("float", 0): 5.0, ("float", 3): 0.05, ("float", 8): 0.001}, 0, ("float", 3)),
        # also where all layers reach it by a hair
        ({(None, 0): 5.0, **NO_INT16, ("float", 0): 5.0, ("float", 3): 0.05, ("float", 8): -0.01}, 0, ("float", 3)),
        # a limit out of reach: what is as good as all layers
        ({(None, 0): 9.0, **NO_INT16, ("float", 0): 9.0, ("float", 2): 5.05, ("float", 8): 5.0}, 1, ("float", 2)),
        # keeping all is not the best, and the limit stays what it is where it can be kept
        ({(None, 0): 9.0, **NO_INT16, ("float", 0): 9.0, ("float", 4): 0.5, ("float", 8): 1.0}, 0.8, ("float", 4)),
        # few layers are enough although more of them are not
        ({(None, 0): 9.0, **NO_INT16, ("float", 0): 9.0, ("float", 1): -1.0, ("float", 2): 0.5}, 0, ("float", 1)),
        ({(None, 0): 1.05, ("int16", 0): 1.05, ("int16", 1): 0.98, ("int16", 5): 0.2}, 1, ("int16", 1)),
    ],
)
def test_no_layer_is_kept_for_less_than_chance(drops, limit, expected, monkeypatch, data, tmp_path, caplog) -> None:
    _, chosen, found = scripted(drops, 8, limit, monkeypatch, data, tmp_path)
    assert (chosen.precision, chosen.num_kept) == expected
    assert found.reached == (chosen.drop <= limit)
    assert ("max_map_drop" in caplog.text) == (not found.reached)
    assert chosen.drop <= max(limit, min(trial.drop for trial in found.trials) + CHANCE)


def test_a_precision_that_is_not_offered(data, tmp_path) -> None:
    with pytest.raises(DataError, match="fake cannot keep layers of this model at int16, only at float"):
        search(data, tmp_path, (3.0, 3.0), 0.5, precisions=("float",), keep_at="int16")


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    noise=st.lists(st.floats(0, 0.1), min_size=1, max_size=10).map(tuple),
    limit=st.floats(0, 20),
)
def test_the_search_finds_what_trying_all_numbers_finds(data, tmp_path_factory, noise, limit) -> None:
    result, found, variants = search(data, tmp_path_factory.mktemp("run"), noise, limit, keep_at="float")
    enough = max(limit, CHANCE)  # with everything in float nothing is lost
    assert found.chosen.drop <= enough
    assert len(found.trials) <= 2 + 2 * math.ceil(math.log2(len(noise) + 1))
    assert variants.written <= 1 + len(noise) + len(found.trials)
    errors = [cost.embedding_error for cost in found.costs]
    assert errors == sorted(errors, reverse=True)
    kept = {cost.layer.name for cost in found.costs if cost.kept_at}
    assert len(kept) == found.chosen.num_kept
    assert kept == {cost.layer.name for cost in found.costs[: found.chosen.num_kept]}, "the most expensive ones"
    smaller = [trial for trial in found.trials if trial.num_kept == found.chosen.num_kept - 1]
    assert not found.chosen.num_kept or (smaller and smaller[0].drop > enough), "one layer less is not enough"
    assert [value == 0 for value in noise_of(result)].count(True) >= found.chosen.num_kept
