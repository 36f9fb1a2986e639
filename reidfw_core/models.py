"""Opening the user's Keras files: for services and plugins alike. Keras is imported when a function is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def load_embedding_model(path: Path) -> keras.Model:
    """Reads a ``.keras`` or ``.h5`` file as a model from one image to one embedding.

    A classifier at its end is cut off. Layers of installed reidfw plugins are found; Lambda layers are refused, since
    they would run code from the file.

    Returns:
        A ``keras.Model`` from (B, H, W, C) to (B, D) with known H, W, C and D.

    Raises:
        DataError: the file is missing, not a Keras model, or not a model from one image to one vector.
    """
    from reidfw_core._keras.files import load_embedding_model as load

    return load(path)
