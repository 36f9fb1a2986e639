"""A board that is not made: its figures of time are computed, as those of a simulator would be."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from reidfw_core.api import BenchmarkReport, ComponentParams, ModelFile, ModelFormat, Target, TargetInfo, hookimpl


class ForestCam(Target):
    """ForestCam, an imaginary board: Cortex-M7 at 480 MHz, 1 MiB RAM, 2 MiB flash, no NPU.

    The benchmark estimates the time of an inference from the size of the model file; on a real board this is where
    the vendor's tool is run.
    """

    accepts = frozenset({ModelFormat.parse("tflite/int8")})

    class Params(ComponentParams):
        """What a user may write beside ``benchmarking.board``."""

        cycles_per_byte: float = Field(
            150.0, gt=0, description="Processor cycles for each byte of the model, from which the time is estimated"
        )

    @hookimpl
    def describe_target(self) -> TargetInfo:
        """Facts on the board."""
        return TargetInfo(core="Cortex-M7", clock_mhz=480, ram_kib=1024, flash_kib=2048, source="imaginary")

    @hookimpl
    def benchmark_model(self, model: ModelFile, workdir: Path) -> BenchmarkReport:
        """Estimates time and flash of a model, and writes the estimate into the run folder.

        Args:
            model: an int8 TensorFlow Lite model.
            workdir: existing folder for the estimate, ``forestcam.txt``.
        """
        cycles = round(model.size_bytes * self.params.cycles_per_byte)
        inference_ms = cycles / 480e3
        (workdir / "forestcam.txt").write_text(f"{model.name}: {inference_ms:.3f} ms\n", encoding="utf-8")
        return BenchmarkReport(
            inference_ms=inference_ms,
            cycles=cycles,
            weights_flash_kib=model.size_bytes / 1024,
            tool="ForestCam estimate",
        )
