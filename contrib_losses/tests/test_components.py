"""The entry points: found, light to import, checked parameters, facts, and what they build."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest
from pydantic import ValidationError
from reidfw_losses.center import Center
from reidfw_losses.cross_entropy import IdentityCrossEntropy
from reidfw_losses.margins import ArcFace, CosFace
from reidfw_losses.pairs import Circle, SupervisedContrastive
from reidfw_losses.triplet import TripletHard, TripletSemiHard, TripletSimple

from reidfw_core.api import ComponentParams, DataError, Loss

COMPONENTS: dict[str, type[Loss]] = {
    "triplet_hard": TripletHard,
    "triplet_semi_hard": TripletSemiHard,
    "triplet_simple": TripletSimple,
    "arcface": ArcFace,
    "cosface": CosFace,
    "circle": Circle,
    "supervised_contrastive": SupervisedContrastive,
    "center": Center,
    "identity_cross_entropy": IdentityCrossEntropy,
}
CONSUMES = {"identity_cross_entropy": "logits", "arcface": "cosines", "cosface": "cosines"}
ALONE = {"identity_cross_entropy", "arcface", "cosface", "center"}
"""Losses that make sense with one image of an identity."""
TRIPLETS = {name: cls for name, cls in COMPONENTS.items() if name.startswith("triplet")}

every_component = pytest.mark.parametrize("name", COMPONENTS)
every_triplet = pytest.mark.parametrize("name", TRIPLETS)


def test_the_entry_points_name_the_components() -> None:
    found = {
        point.name: point.load() for point in entry_points(group="reidfw.losses") if point.dist.name == "reidfw-losses"
    }
    assert found == COMPONENTS


def test_importing_the_components_imports_no_framework() -> None:
    code = (
        "import json, sys, reidfw_losses.triplet, reidfw_losses.cross_entropy;"
        "print(json.dumps([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"tensorflow", "keras"} & set(json.loads(output))


@every_component
def test_facts_docs_and_described_parameters(name: str) -> None:
    component = COMPONENTS[name]
    assert component.consumes == CONSUMES.get(name, "embeddings")
    assert component.min_instances == (1 if name in ALONE else 2)
    assert "Source:" in (component.__doc__ or "")
    assert all(field.description for field in component.Params.model_fields.values())


@every_component
def test_the_defaults_build_a_loss_that_gives_a_finite_scalar(name: str) -> None:
    component = COMPONENTS[name]()
    known = {"num_identities": 4, "embedding_dim": 6}
    wanted = inspect.signature(component.build_loss).parameters
    loss = component.build_loss(**{key: value for key, value in known.items() if key in wanted})
    outputs = np.random.default_rng(0).normal(size=(8, 6 if component.consumes == "embeddings" else 4))
    if component.consumes == "cosines":
        outputs = np.tanh(outputs)
    value = loss(np.arange(8) // 2, outputs.astype(np.float32))
    assert value.shape == ()
    assert value.dtype == "float32"
    assert 0.0 < float(value) < 300.0


@every_triplet
def test_the_defaults_are_margin_0_3_and_cosine(name: str) -> None:
    assert COMPONENTS[name].Params().model_dump() == {"margin": 0.3, "distance_metric": "cosine"}


@every_triplet
def test_parameters_reach_the_loss(name: str) -> None:
    component = TRIPLETS[name]
    loss = component(component.Params(margin=0.7, distance_metric="Euclidean")).build_loss(num_identities=2)
    assert (loss.strategy, loss.margin, loss.distance_metric) == (name.removeprefix("triplet_"), 0.7, "euclidean")


def problems(params: type[ComponentParams], **values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        params(**values)
    return str(caught.value)


@every_triplet
def test_bad_parameters_are_refused_with_what_is_allowed(name: str) -> None:
    params = TRIPLETS[name].Params
    assert "less than or equal to 1" in problems(params, margin=1.01)
    assert "greater than or equal to 0" in problems(params, margin=-0.1)
    assert "greater than or equal to 0" in problems(params, margin=float("nan"))
    assert "number in [0, 1]" in problems(params, margin=True)
    assert "'cosine' or 'euclidean'" in problems(params, distance_metric="squared_euclidean")
    assert "alpha" in problems(params, alpha=0.3)
    assert params(margin="1e-1").margin == 0.1
    assert params(margin=0).margin == 0.0
    assert params(margin="Soft").margin == "soft"
    assert params(margin=1).margin == 1.0


def test_bad_label_smoothing_is_refused() -> None:
    params = IdentityCrossEntropy.Params
    assert params().label_smoothing == 0.1
    assert "less than 1" in problems(params, label_smoothing=1.0)
    assert "greater than or equal to 0" in problems(params, label_smoothing=-0.1)
    loss = IdentityCrossEntropy(params(label_smoothing=0.25)).build_loss()
    assert loss.label_smoothing == 0.25


@every_triplet
def test_one_identity_is_a_fault_of_the_data(name: str) -> None:
    with pytest.raises(DataError, match="two identities, the training set has 1"):
        TRIPLETS[name]().build_loss(num_identities=1)
