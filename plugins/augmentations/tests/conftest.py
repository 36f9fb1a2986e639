"""Images for the tests of this distribution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def images() -> NDArray[np.float32]:
    """(6, 40, 24, 3) random levels of 0 to 255 in [0, 1]; the first pixel of each image is white."""
    levels = np.random.default_rng(0).integers(0, 256, (6, 40, 24, 3)).astype(np.float32)
    levels[:, 0, 0] = 255
    return levels / 255


@pytest.fixture
def smooth_images() -> NDArray[np.float32]:
    """(4, 40, 24, 3) in [0, 1] without sharp edges."""
    y, x = np.mgrid[0:40, 0:24].astype(np.float32)
    planes = [0.5 + 0.5 * np.sin(0.1 * (k + 1) * x + 0.07 * (c + 1) * y) for k in range(4) for c in range(3)]
    return np.moveaxis(np.stack(planes).reshape(4, 3, 40, 24), 1, -1).astype(np.float32)
