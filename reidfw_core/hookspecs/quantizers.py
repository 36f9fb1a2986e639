"""Contract of quantizers (entry point group ``reidfw.quantizers``)."""

from __future__ import annotations

from pathlib import Path

from reidfw_core.markers import hookspec
from reidfw_core.types import CalibrationSet, ModelFile


@hookspec(firstresult=True)
def quantize_model(model: ModelFile, calibration: CalibrationSet, workdir: Path, export_dir: Path) -> ModelFile | None:
    """Quantizes a float model.

    Args:
        model: the float model, in one of the formats that the component ``consumes``.
        calibration: images to measure activations with.
        workdir: existing folder for intermediate files (the run folder).
        export_dir: existing folder for the result (``quantization.export_dir`` inside the run folder).

    Returns:
        The quantized model, in the format that the component ``produces``.

    Raises:
        DataError: the model cannot be quantized, and why.
    """
