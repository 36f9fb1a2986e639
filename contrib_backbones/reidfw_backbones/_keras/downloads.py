"""Fetching published weights into Keras's own cache."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import keras

from reidfw_core.api import ServiceError


def weights_cache() -> Path:
    """The folder in which Keras keeps downloaded weights: ``$KERAS_HOME/models`` or ``~/.keras/models``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def download(url: str) -> Path:
    """The cached file of ``url``; fetches it first where it is not there.

    Raises:
        ServiceError: it is not there and cannot be fetched.
    """
    folder = weights_cache()
    cached = folder / url.rpartition("/")[2]
    if cached.is_file():
        return cached
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress; stdout carries results only
            return Path(keras.utils.get_file(cached.name, url, cache_dir=str(folder.parent), cache_subdir=folder.name))
    except Exception as cause:  # Keras raises a bare Exception where the server cannot be reached
        raise ServiceError(
            f"The pretrained weights are not in {folder} and cannot be downloaded: {cause}",
            hint=f"Download {url} on a computer with network access and put it into {folder}, or give the path of a "
            "weights file as model.pretrained; model.pretrained: False starts from random weights.",
        ) from cause
