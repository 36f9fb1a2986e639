"""Computing in another number format than the one that weights are kept in."""

from __future__ import annotations

from typing import Any

import keras

from reidfw_core._keras.head import BN_NECK_LAYER, EMBEDDING_LAYER, LOGITS_LAYER

_KEPT = frozenset({"pooling", EMBEDDING_LAYER, BN_NECK_LAYER, "dropout", LOGITS_LAYER})
"""Layers of the head: embeddings, logits and losses stay float32, where a few bits decide between identities."""


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """The same network with weights of its own (equal ones) that computes in another precision.

    Source: P. Micikevicius et al., "Mixed Precision Training", 2018, section 3.1 (float32 master weights).

    Args:
        model: a functional model in float32.
        policy: a Keras policy: ``mixed_bfloat16`` or ``mixed_float16``.
    """
    twin = type(model).from_config(_with_policy(model.get_config(), policy))
    for own, given in zip(twin.variables, model.variables, strict=True):
        own.assign(given)
    return twin


def _with_policy(config: Any, policy: str) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_with_policy(item, policy) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and config.get("config", {}).get("name") == "float32":
        return {**config, "config": {**config["config"], "name": policy}}
    inner = config.get("config")
    if isinstance(inner, dict) and inner.get("name") in _KEPT:
        return config
    return {key: _with_policy(value, policy) for key, value in config.items()}
