"""``onnx_quantizer``: ONNX models with pairs of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import model_validator

from reidfw_core.api import (
    CalibrationSet,
    DataError,
    LayerError,
    ModelFile,
    ModelFormat,
    ModelVariants,
    Quantizer,
    ToolNotFound,
    atomic_path,
    hookimpl,
)
from reidfw_quantizers.params import QuantizationParams

if TYPE_CHECKING:
    import keras
    import onnx

    from reidfw_quantizers._onnx.ranges import Grid

logger = logging.getLogger(__name__)


class OnnxQuantizer(Quantizer):
    """Post-training quantization with ONNX Runtime, in the QDQ format.

    A Keras model is first converted to ONNX (input ``image`` as (batch, C, H, W), output ``embedding``); an ONNX
    model is brought to ``target_opset`` where it is older. Input and output stay float32. An ONNX model that is
    quantized already, to whatever width, is handed on unchanged. The result is ``<name of the model>.onnx``.

    With ``optimize`` a per_tensor Keras model is equalised across layers first; ``optimized_model.keras`` holds the
    float model that was converted, which gives the same embeddings.

    Source: the user's document, section 2.8 (model quantization).
    """

    consumes = frozenset({ModelFormat.parse("keras/float32"), ModelFormat.parse("onnx/float32")})
    produces = ModelFormat.parse("onnx/int8_qdq")
    keeps_layers_at = ("float",)

    class Params(QuantizationParams):
        """The ``quantization`` section; input and output types have no effect."""

        @model_validator(mode="after")
        def _check_types(self) -> Self:
            """ONNX Runtime refuses some pairs of types, or cannot run what it makes of them."""
            options = self.onnx_quant_parameters
            weights, activations = options.bits()
            if (options.weightType, options.activType) == ("UInt8", "Int8") or (weights, activations) == (8, 4):
                raise ValueError(
                    f"onnx_quant_parameters: ONNX Runtime does not take {options.weightType} weights with "
                    f"{options.activType} activations"
                )
            return self

        @model_validator(mode="after")
        def _check_training(self) -> Self:
            """Training rounds to the grid of 8-bit integers, with a zero point for activations and none for weights."""
            options, extra = self.onnx_quant_parameters, self.onnx_extra_options
            if self.quantization_type != "QAT":
                return self
            for name, value, allowed in (
                ("onnx_quant_parameters.weightType", options.weightType, ("Int8",)),
                ("onnx_quant_parameters.activType", options.activType, ("Int8", "UInt8")),
                ("onnx_extra_options.WeightSymmetric", extra.WeightSymmetric, (True,)),
                ("onnx_extra_options.ActivationSymmetric", extra.ActivationSymmetric, (False,)),
                ("onnx_extra_options.SmoothQuant", extra.SmoothQuant, (False,)),
            ):
                if value not in allowed:
                    raise ValueError(
                        f"{name} is {value}, but quantization_type QAT trains for {' or '.join(map(str, allowed))}"
                    )
            return self

        def unused(self) -> dict[str, str]:
            """The given attributes that have no effect, each with the reason."""
            found = super().unused()
            for name in ("quantization_input_type", "quantization_output_type"):
                if name in self.model_fields_set and getattr(self, name) != "float":
                    found[name] = "ONNX models keep float"
            extra, method = self.onnx_extra_options, self.onnx_quant_parameters.calibrate_method
            if extra.CalibMovingAverage and self.activation_clipping != "none":
                found["onnx_extra_options.CalibMovingAverage"] = "activation_clipping takes its place"
            elif extra.CalibMovingAverage and method != "MinMax":
                found["onnx_extra_options.CalibMovingAverage"] = f"for calibrate_method MinMax, not {method}"
            for name in ("SmoothQuantAlpha", "SmoothQuantFolding"):
                if name in extra.model_fields_set and not extra.SmoothQuant:
                    found[f"onnx_extra_options.{name}"] = "without SmoothQuant"
            return found

    @hookimpl
    def inspect_model(self, model: ModelFile) -> ModelFile:
        """Opens a Keras or ONNX file; see the hook's contract.

        A quantized ONNX model is no error: its number format tells, and :meth:`quantize_model` hands it on.

        Raises:
            DataError: the file is not a model from one image to one vector.
            ToolNotFound: a Python package is missing.
        """
        from_keras = ModelFormat.of_file(model.path).container == "keras"
        self._require_packages(from_keras=from_keras)
        if from_keras:
            from reidfw_quantizers._keras.inspection import inspect_keras

            return inspect_keras(model)
        from reidfw_quantizers._onnx.quantization import inspect_onnx

        return inspect_onnx(model)

    @hookimpl
    def prepare_training(self, model: ModelFile, calibration: CalibrationSet) -> keras.Model:
        """Rounds weights and activations of a Keras model as ONNX Runtime does; see the hook's contract.

        Raises:
            DataError: the file is no model from one image to one vector, there are no calibration images, or the model
                has no weights that can be rounded.
            ToolNotFound: a Python package is missing.
        """
        self._require_packages(from_keras=True)
        from reidfw_quantizers._keras.preparation import prepare_keras

        return prepare_keras(model.path, calibration, self.params)

    @hookimpl
    def quantize_model(
        self, model: ModelFile, calibration: CalibrationSet, workdir: Path, export_dir: Path
    ) -> ModelFile:
        """Quantizes a float Keras or ONNX model; see the hook's contract.

        Raises:
            DataError: the file is no model from one image to one vector, there are no calibration images, or ONNX
                Runtime refuses the model.
            ToolNotFound: a Python package is missing.
        """
        params: QuantizationParams = self.params
        params.log_unused()
        from_keras = ModelFormat.of_file(model.path).container == "keras"
        self._require_packages(from_keras=from_keras)
        import onnx

        from reidfw_quantizers._onnx import quantization
        from reidfw_quantizers._onnx.opset import opset_of

        began = time.perf_counter()
        source, optimized = model, None
        if params.wants_equalisation():
            if from_keras:
                from reidfw_quantizers._keras.optimized import write_optimized
                from reidfw_quantizers._keras.preparation import open_trained

                keras_model, ranges = open_trained(model.path, params)
                if ranges is None:  # a trained model was equalised before
                    _, optimized = write_optimized(keras_model, export_dir)
                    source = replace(model, path=optimized)
            else:
                logger.warning(
                    "optimize has no effect on %s: it rewrites Keras models only; bias_correction works on both",
                    model.path.name,
                )
        float_model, grids = self._float_onnx(source)
        if found := quantization.quantized_format(float_model):
            logger.warning("%s is quantized already; it is used as it is", model.path.name)
            return replace(model, format=found, details={**model.details, "already_quantized": True})
        if opset_of(float_model) > params.target_opset:
            logger.info(
                "target_opset has no effect: %s uses operator set %d already", model.path.name, opset_of(float_model)
            )
        if grids:
            params = params.for_trained_ranges()
        if params.onnx_quant_parameters.calibrate_method == "Distribution":
            logger.warning(
                "calibrate_method Distribution is ONNX Runtime's choice for 8-bit floating point; integers lose much "
                "with it. MinMax, Entropy and Percentile are made for them."
            )
        if params.activation_clipping != "none" and params.onnx_quant_parameters.calibrate_method != "MinMax":
            logger.warning(
                "activation_clipping: %s takes the place of calibrate_method: %s",
                params.activation_clipping,
                params.onnx_quant_parameters.calibrate_method,
            )
        path = export_dir / f"{model.name}.onnx"
        with atomic_path(path) as temporary:
            num_images, input_shape = quantization.quantize_qdq(
                float_model, calibration, params, temporary, workdir, grids
            )
            quantization.check_runs(temporary)
        quantized = onnx.load(path)
        if floats := quantization.float_layers(quantized):
            logger.warning("These layers stay in float: %s", ", ".join(floats))
        logger.info(
            "Quantized with %d calibration images (%s) in %.1f s: %.1f KiB",
            num_images,
            calibration.origin,
            time.perf_counter() - began,
            path.stat().st_size / 1024,
        )
        return ModelFile(
            path=path,
            format=quantization.qdq_format(*params.onnx_quant_parameters.bits()),
            name=model.name,
            input_shape=input_shape,
            embedding_dim=quantization.dimensions(quantized.graph.output[0])[-1],
            details={
                "granularity": params.granularity,
                "quantization_type": "QAT" if grids else "PTQ",
                "opset": opset_of(quantized),
                "weight_type": params.onnx_quant_parameters.weightType,
                "activation_type": params.onnx_quant_parameters.activType,
                "calibrate_method": params.onnx_quant_parameters.calibrate_method,
                "activation_clipping": params.activation_clipping,
                "bias_correction": params.bias_correction,
                "num_operators": len(quantized.graph.node),
                "operators": quantization.operator_counts(quantized),
                "float_layers": list(floats),
                "calibration_images": num_images,
                "calibration_origin": calibration.origin,
                **({"optimized_model": optimized.name} if optimized else {}),
            },
        )

    @hookimpl
    def layer_errors(
        self, float_model: ModelFile, quantized_model: ModelFile, images: np.ndarray
    ) -> tuple[LayerError, ...]:
        """Compares the outputs of all quantized layers; see the hook's contract.

        A model that was quantized already has no float one beside it: no layers.

        Raises:
            DataError: a file is no model of its kind.
            ToolNotFound: a Python package is missing.
        """
        if quantized_model.details.get("already_quantized"):
            return ()
        reference = self._reference(float_model, quantized_model)
        from reidfw_quantizers._onnx.layer_errors import onnx_layer_errors

        return onnx_layer_errors(reference, quantized_model.path, images, workdir=quantized_model.path.parent)

    @hookimpl
    def open_variants(self, float_model: ModelFile, quantized_model: ModelFile, workdir: Path) -> ModelVariants:
        """Opens a QDQ file to leave nodes in float; see the hook's contract.

        Raises:
            DataError: a file is no model of its kind, the two do not belong together, or the model was quantized
                already when it was given.
            ToolNotFound: a Python package is missing.
        """
        if quantized_model.details.get("already_quantized"):
            raise DataError(f"{quantized_model.path.name} was quantized before: no float model tells its layers apart")
        reference = self._reference(float_model, quantized_model)
        from reidfw_quantizers._onnx.layer_errors import prepared_model
        from reidfw_quantizers._onnx.variants import OnnxVariants

        return OnnxVariants(quantized_model, prepared_model(reference, workdir))

    def _reference(self, float_model: ModelFile, quantized_model: ModelFile) -> onnx.ModelProto:
        """The float model that was quantized: the given one, or the one that ``optimize`` made of it."""
        self._require_packages(from_keras=ModelFormat.of_file(float_model.path).container == "keras")
        if optimized := quantized_model.details.get("optimized_model"):
            float_model = replace(float_model, path=quantized_model.path.with_name(optimized))
        reference, _ = self._float_onnx(float_model)
        return reference

    def _float_onnx(self, model: ModelFile) -> tuple[onnx.ModelProto, dict[str, Grid]]:
        """The float model as ONNX at ``target_opset``, from a Keras or an ONNX file, and what it was trained for.

        The grids are those of activations by their names; none without a quantization-aware training.
        """
        from reidfw_quantizers._onnx import quantization
        from reidfw_quantizers._onnx.opset import at_least_opset

        params: QuantizationParams = self.params
        grids: dict[str, Grid] = {}
        if ModelFormat.of_file(model.path).container == "keras":
            from reidfw_quantizers._keras.preparation import open_trained
            from reidfw_quantizers._onnx.from_keras import convert_keras
            from reidfw_quantizers._onnx.ranges import take_grids

            keras_model, ranges = open_trained(model.path, params, keep_ranges=True)
            float_model = convert_keras(keras_model, params.target_opset)
            if ranges is not None:
                grids = take_grids(float_model)
        else:
            float_model = quantization.load_onnx(model.path)
        if quantization.quantized_format(float_model):
            return float_model, grids
        quantization.check_float(float_model, model.path.name)
        return at_least_opset(float_model, params.target_opset, model.path.name), grids

    def _require_packages(self, *, from_keras: bool) -> None:
        wanted = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
        if from_keras:
            wanted["tf2onnx"] = "tf2onnx"
        missing = [package for module, package in wanted.items() if not _is_importable(module)]
        if missing:
            raise ToolNotFound(
                f"onnx_quantizer needs the Python packages {', '.join(missing)}",
                hint='Run: pip install "reidfw-quantizers[onnx]"',
            )
        if self.params.onnx_extra_options.SmoothQuant and not _has_smooth_quant():
            raise ToolNotFound(
                "onnx_extra_options.SmoothQuant needs the Python package neural-compressor 2, which is not installed "
                "or cannot be loaded (version 3 has no SmoothQuant for ONNX any more)",
                hint='Run: pip install "neural-compressor<3" six (brings back numpy 1), or set SmoothQuant: False',
            )


def _has_smooth_quant() -> bool:
    """Whether ONNX Runtime will find its SmoothQuant, in the module that it looks for."""
    try:
        importlib.import_module("neural_compressor.adaptor.ox_utils.smooth_quant")
    except ImportError as cause:
        logger.debug("neural-compressor cannot be used: %s", cause)
        return False
    return True


def _is_importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as cause:
        if cause.name != module:
            raise
        return False
    return True
