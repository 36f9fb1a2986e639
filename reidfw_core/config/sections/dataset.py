"""The ``dataset`` section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reidfw_core.config.sections.base import AnyCase, Integer, Number, OpenSection
from reidfw_core.types import Role


class DatasetSection(OpenSection):
    """The images. Further attributes belong to the reader.

    Source: the user's document, section 2.3.
    """

    dataset_name: str = "<unnamed>"
    """Name of the data set, for logs. Defaults to ``<unnamed>``."""
    reader: str = "identity_prefix"
    """Component that lists the images and tells their identities. By default the text of a file name before its first
    underscore is the identity."""
    training_path: Path | None = None
    """Folder of the training images."""
    validation_path: Path | None = None
    """Folder of the validation images. Where it is absent, a part of the training set is split off."""
    validation_split: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """Part of the training set that becomes the validation set, in (0, 1). Defaults to 0.2."""
    validation_split_by: Annotated[Literal["image", "identity"], AnyCase] | None = None
    """What is drawn for the validation set: single images (``image``), or identities with all their images
    (``identity``). Defaults to ``identity`` where ``training.checkpoint_monitor`` or a callback watches ``val_mAP`` or
    ``val_rank1``, else to ``image``."""
    test_query_path: Path | None = None
    """Folder of the query images of the test set."""
    test_gallery_path: Path | None = None
    """Folder of the gallery images of the test set."""
    quantization_path: Path | None = None
    """Folder of the images that calibrate the quantization. The training images by default."""
    quantization_split: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Part of these images that is used, in (0, 1]. All by default."""
    quantization_allow_random: bool = False
    """Calibrate with random pixels where there are neither calibration nor training images: fit for measuring speed and
    memory on a board, not for recognising anyone. Defaults to False, which makes that an error."""
    prediction_query_path: Path | None = None
    """Folder of the images whose identity is to be predicted."""
    prediction_gallery_path: Path | None = None
    """Folder of the images of known identities."""
    check_image_files: bool = False
    """Decode every image before the run to find unusable files. Defaults to False."""
    cache: Annotated[Literal["none", "memory", "disk"], AnyCase] = "none"
    """Where decoded and resized training images are kept after their first use: nowhere (``none``, the default), in
    ``memory``, or on ``disk``, in a file that later runs find again. Worth it where images are much larger than the
    model's input."""
    cache_limit: Annotated[Number, Field(gt=0)] = 2.0
    """Largest size of that cache in GBytes; images that do not fit are decoded each time. Defaults to 2."""
    seed: Annotated[Integer, Field(ge=0, le=2**32 - 1)] = 123
    """Seed with which the data set is shuffled before it is split. Defaults to 123."""
    class_names: tuple[str, ...] | None = None
    """Accepted and ignored: identities are found in the file names."""
    class_names_test: tuple[str, ...] | None = None
    """Accepted and ignored: identities are found in the file names."""

    def path_of(self, role: Role) -> Path | None:
        """The folder of a data set."""
        path: Path | None = getattr(self, f"{role}_path")
        return path
