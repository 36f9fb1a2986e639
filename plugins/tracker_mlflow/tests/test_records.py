"""Values of a run become names and texts that MLflow takes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from reidfw_tracker_mlflow.records import flat_params, record_key, record_value

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
)


def test_nested_values_get_dotted_names():
    config = {
        "training": {"optimizer": {"Adam": {"learning_rate": 0.001}}, "frozen_layers": None, "losses": [{"a": 1}]}
    }
    assert dict(flat_params({**config, "hydra": {}})) == {
        "training.optimizer.Adam.learning_rate": "0.001",
        "training.frozen_layers": "None",
        "training.losses": '[{"a": 1}]',
        "hydra": "{}",
    }


@given(st.dictionaries(st.text(min_size=1, max_size=4), plain, max_size=4))
def test_every_leaf_is_recorded_within_the_limits(config):
    def leaves(value):
        return sum(map(leaves, value.values())) if isinstance(value, dict) and value else 1

    records = list(flat_params(config))
    assert len(records) == sum(leaves(value) for value in config.values())
    assert all(re.fullmatch(r"[\w.\- :/]+", key) and len(value) <= 6000 for key, value in records)


def test_long_values_are_cut_visibly():
    text = record_value("x" * 7000)
    assert len(text) == 6000
    assert text.endswith("…")


def test_names_lose_what_mlflow_refuses():
    assert record_key("NPU usage (%)") == "NPU usage ___"
    assert len(record_key("k" * 300)) == 250
