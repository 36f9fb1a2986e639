"""Training on several devices and computers through ``tf.distribute``."""

from __future__ import annotations

import functools
import json
import os
from typing import Any, Literal

import tensorflow as tf

from reidfw_core.errors import DataError


def open_strategy(distribution: Literal["none", "mirrored", "multi_worker"]) -> tf.distribute.Strategy:
    """The strategy that ``training.distribution`` asks for.

    Raises:
        DataError: ``multi_worker`` without a ``TF_CONFIG`` that tells this computer's place among the others.
    """
    if distribution == "none":
        return tf.distribute.get_strategy()
    if distribution == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return _several_computers()


@functools.cache  # a process can join a cluster once only, and before TensorFlow starts its devices
def _several_computers() -> tf.distribute.Strategy:
    worker_place()
    return tf.distribute.MultiWorkerMirroredStrategy()


def worker_place() -> tuple[int, int]:
    """Number of this computer (from 0) and how many there are, from the environment variable ``TF_CONFIG``.

    Raises:
        DataError: it is absent or not as TensorFlow wants it.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise DataError(
            "training.distribution is multi_worker, but the environment variable TF_CONFIG is not set",
            hint='On each computer: TF_CONFIG=\'{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}\' with its own index.',
        )
    try:
        config: dict[str, Any] = json.loads(text)
        workers = list(config["cluster"]["worker"])
        index = int(config["task"]["index"])
    except (ValueError, KeyError, TypeError) as cause:
        raise DataError(f"The environment variable TF_CONFIG is not as TensorFlow wants it: {cause!r}") from cause
    if not 0 <= index < len(workers):
        raise DataError(f"TF_CONFIG: task.index is {index}, but there are {len(workers)} workers")
    return index, len(workers)
