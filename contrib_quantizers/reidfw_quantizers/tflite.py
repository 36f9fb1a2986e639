"""``TFlite_converter``: full-integer TensorFlow Lite files for microcontrollers and NPUs."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reidfw_core.api import (
    CalibrationSet,
    LayerError,
    ModelFile,
    ModelFormat,
    ModelVariants,
    Quantizer,
    atomic_path,
    hookimpl,
)
from reidfw_quantizers.params import QuantizationParams

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

FILE_NAME = "quantized_model.tflite"
"""Name of the result in the export folder."""


class TfliteConverter(Quantizer):
    """Post-training quantization to int8 with TensorFlow's converter.

    Reads a float Keras model, measures activation ranges on the calibration images, and writes
    ``quantized_model.tflite`` with batch 1: weights int8 (one scale for each channel, or for each layer), activations
    int8, biases int32, input and output as asked. The result is checked: an operator left in float, or another
    input or output type than asked, is an error. A classification head is cut off first. With ``optimize`` a
    per_tensor model is equalised across layers first; ``optimized_model.keras`` holds the float model that was
    converted, which gives the same embeddings as the given one.

    Source: the user's document, section 2.8 (model quantization).
    """

    consumes = frozenset({ModelFormat.parse("keras/float32")})
    produces = ModelFormat.parse("tflite/int8")
    keeps_layers_at = ("int16", "float")

    class Params(QuantizationParams):
        """The ``quantization`` section; attributes about ONNX have no effect."""

        def unused(self) -> dict[str, str]:
            """The given attributes that have no effect, each with the reason."""
            names = ("target_opset", "onnx_quant_parameters", "onnx_extra_options")
            return super().unused() | {name: "for onnx_quantizer" for name in names if name in self.model_fields_set}

    @hookimpl
    def inspect_model(self, model: ModelFile) -> ModelFile:
        """Opens a Keras file; see the hook's contract.

        Raises:
            DataError: the file is not a Keras model from one image to one vector.
        """
        from reidfw_quantizers._keras.inspection import inspect_keras

        return inspect_keras(model)

    @hookimpl
    def prepare_training(self, model: ModelFile, calibration: CalibrationSet) -> keras.Model:
        """Rounds weights and activations as TensorFlow Lite does; see the hook's contract.

        Raises:
            DataError: the file is no model from one image to one vector, there are no calibration images, or the model
                has no weights that can be rounded.
        """
        from reidfw_quantizers._keras.preparation import prepare_keras

        return prepare_keras(model.path, calibration, self.params)

    @hookimpl
    def quantize_model(
        self,
        model: ModelFile,
        calibration: CalibrationSet,
        workdir: Path,  # noqa: ARG002 (the contract's; all that is written is a result)
        export_dir: Path,
    ) -> ModelFile:
        """Quantizes a float Keras model; see the hook's contract.

        Raises:
            DataError: the file is no model from one image to one vector, there are no calibration images, or the
                model cannot be made fully integer.
        """
        from reidfw_quantizers._keras.preparation import open_trained
        from reidfw_quantizers._tflite.conversion import check_integer, convert_to_integer

        params: QuantizationParams = self.params
        params.log_unused()
        began = time.perf_counter()
        keras_model, ranges = open_trained(model.path, params)
        if ranges is not None:
            params = params.for_trained_ranges()
        optimized: Path | None = None
        if ranges is None and params.wants_equalisation():  # a trained model was equalised before
            from reidfw_quantizers._keras.optimized import write_optimized

            keras_model, optimized = write_optimized(keras_model, export_dir)
        content, num_images = convert_to_integer(
            keras_model,
            calibration,
            input_type=params.quantization_input_type,
            output_type=params.quantization_output_type,
            granularity=params.granularity,
            clipping=params.activation_clipping,
            bias_correction=params.bias_correction,
            ranges=ranges,
        )
        graph = check_integer(
            content,
            input_type=params.quantization_input_type,
            output_type=params.quantization_output_type,
            granularity=params.granularity,
        )
        path = export_dir / FILE_NAME
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        logger.info(
            "Quantized with %d calibration images (%s) in %.1f s: %d operators, %.1f KiB",
            num_images,
            calibration.origin,
            time.perf_counter() - began,
            len(graph.operators),
            len(content) / 1024,
        )
        _, height, width, channels = graph.tensors[graph.inputs[0]].shape
        return ModelFile(
            path=path,
            format=self.produces,
            name=model.name,
            input_shape=(height, width, channels),
            embedding_dim=graph.tensors[graph.outputs[0]].shape[-1],
            details={
                "granularity": params.granularity,
                "quantization_type": "PTQ" if ranges is None else "QAT",
                "activation_clipping": params.activation_clipping,
                "bias_correction": params.bias_correction,
                "input": graph.tensors[graph.inputs[0]].quantization(),
                "output": graph.tensors[graph.outputs[0]].quantization(),
                "num_operators": len(graph.operators),
                "operators": dict(graph.operator_counts()),
                "calibration_images": num_images,
                "calibration_origin": calibration.origin,
                **({"optimized_model": optimized.name} if optimized else {}),
            },
        )

    @hookimpl
    def layer_errors(
        self, float_model: ModelFile, quantized_model: ModelFile, images: np.ndarray
    ) -> tuple[LayerError, ...]:
        """Compares the outputs of all layers; see the hook's contract.

        Raises:
            DataError: a file is no model of its kind.
        """
        from reidfw_quantizers._keras.preparation import open_trained
        from reidfw_quantizers._tflite.layer_errors import tflite_layer_errors

        reference, _ = open_trained(_reference_path(float_model, quantized_model), self.params)
        return tflite_layer_errors(reference, quantized_model.path.read_bytes(), images)

    @hookimpl
    def open_variants(self, float_model: ModelFile, quantized_model: ModelFile) -> ModelVariants:
        """Opens an integer file to leave operators at int16 activations or in float; see the hook's contract.

        Raises:
            DataError: a file is no model of its kind, or the two do not belong together.
        """
        from reidfw_quantizers._keras.preparation import open_trained
        from reidfw_quantizers._tflite.conversion import convert_to_float
        from reidfw_quantizers._tflite.variants import TfliteVariants

        reference, _ = open_trained(_reference_path(float_model, quantized_model), self.params)
        return TfliteVariants(quantized_model, convert_to_float(reference))


def _reference_path(float_model: ModelFile, quantized_model: ModelFile) -> Path:
    """The float model that was converted: the given one, or the one that ``optimize`` made of it."""
    optimized = quantized_model.details.get("optimized_model")
    return float_model.path if optimized is None else quantized_model.path.with_name(optimized)
