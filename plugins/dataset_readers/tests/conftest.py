"""Making small folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a folder with tiny images of the given names, sub-folders included."""

    def make(*names: str, folder: str = "images") -> Path:
        root = tmp_path / folder
        root.mkdir(parents=True, exist_ok=True)
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image_format = "JPEG" if path.suffix.lower() in {".jpg", ".jpeg"} else "PNG"
            Image.new("RGB", (4, 8), (10, 200, 30)).save(path, format=image_format)
        return root

    return make
