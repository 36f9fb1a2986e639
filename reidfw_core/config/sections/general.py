"""The ``general`` section."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from reidfw_core.config.sections.base import Integer, Number, PositiveInt, Section, in_run_dir

FolderName = Annotated[str, AfterValidator(in_run_dir())]


class GeneralSection(Section):
    """Global settings.

    Source: the user's document, section 2.2.
    """

    project_name: str = "<unnamed>"
    """Project name; trackers call the experiment so. Defaults to ``<unnamed>``."""
    logs_dir: FolderName = "logs"
    """Folder of log files, inside the run directory. Defaults to ``logs``."""
    saved_models_dir: FolderName = "saved_models"
    """Folder of model files, inside the run directory. Defaults to ``saved_models``."""
    global_seed: Annotated[Integer, Field(ge=0, le=2**32 - 1)] = 123
    """Seed of the Python, NumPy and TensorFlow random generators. Defaults to 123."""
    deterministic_ops: bool = False
    """Same inputs give exactly the same outputs on the same hardware, at the expense of time. Defaults to False."""
    display_figures: bool = True
    """Show figures on the screen; they are written to files in any case. Defaults to True."""
    gpu_memory_limit: Annotated[Number, Field(gt=0)] | None = None
    """Upper limit of the first GPU's memory that TensorFlow may use, in GBytes. Unlimited by default."""
    num_threads_tflite: PositiveInt | None = None
    """Threads that run a TensorFlow Lite or ONNX model. One for each processor core by default; the embeddings are the
    same with any number."""
