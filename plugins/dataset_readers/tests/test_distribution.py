"""Entry points, light imports, the starter configuration."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from reidfw_dataset_readers.starters import SYNTHETIC

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog

READERS = ("csv_manifest", "folder_per_identity", "identity_prefix", "market1501", "parquet_manifest", "synthetic")


@pytest.mark.parametrize("name", READERS)
def test_readers_are_found_loaded_and_keep_their_contract(name):
    reader = Catalog().load("datasets", name)
    assert reader.__doc__
    bus = HookBus()
    bus.add(reader(), name)
    for field, info in reader.Params.model_fields.items():
        assert info.description, f"{name}.{field} has no description"


def test_only_the_synthetic_reader_needs_no_paths():
    assert [name for name in READERS if not Catalog().load("datasets", name).needs_paths] == ["synthetic"]


def test_entry_points_import_nothing_heavy():
    code = (
        "import sys, importlib.metadata as m\n"
        "[p.load() for g in ('reidfw.datasets', 'reidfw.starters') for p in m.entry_points(group=g)"
        " if p.dist.name == 'reidfw-dataset-readers']\n"
        "heavy = {'tensorflow', 'keras', 'PIL', 'matplotlib', 'mlflow'}\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_starter_is_registered_and_complete():
    (point,) = (point for point in entry_points(group="reidfw.starters") if point.name == "synthetic")
    assert point.load() == SYNTHETIC
    content = yaml.safe_load(Path(SYNTHETIC).read_text(encoding="utf-8"))
    assert content["operation_mode"] == "chain_tqe"
    assert content["dataset"]["reader"] == "synthetic"
    assert not [key for key in content["dataset"] if key.endswith("_path")]
    assert {"general", "model", "preprocessing", "training", "quantization", "evaluation", "mlflow", "hydra"} <= set(
        content
    )
    assert content["training"]["batch_size"] % 4 == 0


def test_starter_asks_for_the_size_in_which_people_are_drawn():
    params = Catalog().load("datasets", "synthetic").Params()
    content = yaml.safe_load(Path(SYNTHETIC).read_text(encoding="utf-8"))
    assert content["model"]["input_shape"] == f"({params.image_height}, {params.image_width}, 3)"
