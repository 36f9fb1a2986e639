"""Static quantization of ONNX models with ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from reidfw_core.api import (
    CalibrationSet,
    DataError,
    ModelFile,
    ModelFormat,
    ReidfwError,
    nearest_match,
    prints_to_log,
)
from reidfw_quantizers._onnx.bias_correction import correct_biases, give_biases
from reidfw_quantizers._onnx.clipping import clipped_ranges
from reidfw_quantizers._onnx.ranges import Grid, only_moved
from reidfw_quantizers.calibration import CORRECTION_IMAGES, checked_image, checked_images, no_images
from reidfw_quantizers.params import OnnxExtraOptions, OnnxQuantParameters, QuantizationParams, TensorOverride

logger = logging.getLogger(__name__)

_CHANNELS = (1, 3, 4)
_BITS = {
    getattr(onnx.TensorProto, f"{sign}INT{bits}"): bits
    for sign in ("", "U")
    for bits in (2, 4, 8, 16)
    if hasattr(onnx.TensorProto, f"{sign}INT{bits}")
}
"""Widths of the integer types of weights and activations; biases are int32."""


_WEIGHTS_APART = 4
"""The oldest file version whose weights need not be inputs."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """Reads and checks an ``.onnx`` file with one image input and one output.

    Old tools list the weights among the inputs too. They are taken out, or they would not count as constant: nothing
    could be folded.

    Raises:
        DataError: the file is missing, not an ONNX model, or has several inputs or outputs.
    """
    if not path.is_file():
        raise DataError(f"There is no model file {path}")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as cause:  # protobuf's and onnx's own errors, which share no base class
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise DataError(f"{path} cannot be read as an ONNX model: {reason}") from cause
    inputs, outputs = image_inputs(model), model.graph.output
    if len(inputs) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, _WEIGHTS_APART)
    if len(inputs) != 1 or len(outputs) != 1:
        raise DataError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a ReID model has one each")
    return model


def quantized_format(model: onnx.ModelProto) -> ModelFormat | None:
    """The format of a quantized model, see :func:`qdq_format`; None for a float model.

    A model is quantized where it holds QuantizeLinear or DequantizeLinear of any width, or weights of 8-bit integers.
    """
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    rounding = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    if not rounding and not any(_BITS.get(kind) == 8 for kind in types.values()):
        return None
    found: dict[str, int] = {}
    for node in rounding:
        place = 0 if node.op_type == "DequantizeLinear" else 2
        bits = _BITS.get(types.get(node.input[place], 0), 0) if len(node.input) > place else 0
        found[node.op_type] = max(bits, found.get(node.op_type, 0))
    weights, activations = found.get("DequantizeLinear", 0), found.get("QuantizeLinear", 0)
    return qdq_format(weights or activations or 8, activations or weights or 8)


def qdq_format(weight_bits: int, activation_bits: int) -> ModelFormat:
    """``onnx/int8_qdq``, or for other widths one like ``onnx/int4x16_qdq`` (weights x activations)."""
    is_8_bit = weight_bits == activation_bits == 8
    return ModelFormat("onnx", "int8_qdq" if is_8_bit else f"int{weight_bits}x{activation_bits}_qdq")


def image_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller must give; files of old tools list the weights among the inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def dimensions(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Sizes of an input or output, None for one that may vary."""
    return tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)


def check_float(model: onnx.ModelProto, name: str) -> None:
    """Checks that a float model can be quantized: one float32 image at a time, and numbers for weights.

    Raises:
        DataError: it takes another number format or several images at a time, or a weight is NaN.
    """
    tensor = image_inputs(model)[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise DataError(f"{name} takes {kind} images; only float32 models are quantized", hint="Export it in float32.")
    batch = tensor.shape.dim[0].dim_value if tensor.shape.dim else 1
    if batch > 1:
        raise DataError(
            f"{name} takes {batch} images at a time, and calibration gives one",
            hint="Export it with a free batch size, or with batch 1.",
        )
    readers = {value: node for node in reversed(model.graph.node) for value in node.input}
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype.kind == "f" and np.isnan(values).any() and weight.name in readers:
            reader = readers[weight.name]
            layer = f"{reader.op_type} {reader.name or reader.output[0]}"
            raise DataError(f"{name} has NaN among its weights, in {weight.name} of {layer}")


def inspect_onnx(model: ModelFile) -> ModelFile:
    """The same model with input shape, embedding length and number format.

    Raises:
        DataError: the file is not an ONNX model from one image of fixed size to one vector, or a float model that
            cannot be quantized.
    """
    opened = load_onnx(model.path)
    found = quantized_format(opened)
    if found is None:
        check_float(opened, str(model.path))
    output = dimensions(opened.graph.output[0])
    if len(output) != 2 or output[1] is None:
        raise DataError(f"{model.path} gives {output}; a ReID model gives (batch, D): one embedding an image")
    return replace(
        model,
        format=found or ModelFormat.parse("onnx/float32"),
        input_shape=_image_shape(dimensions(image_inputs(opened)[0]), str(model.path)),
        embedding_dim=output[1],
    )


def _image_shape(sizes: Sequence[int | None], name: str) -> tuple[int, int, int]:
    """(H, W, C) of an input, its 1, 3 or 4 channels looked for in the first place and then in the last one."""
    if len(sizes) == 4 and None not in sizes[1:]:
        first, middle, last = (int(size) for size in sizes[1:] if size is not None)
        if first in _CHANNELS:
            return middle, last, first
        if last in _CHANNELS:
            return first, middle, last
    raise DataError(f"{name} takes {tuple(sizes)}; a ReID model takes an image of fixed height, width and channels")


def arranged(images: np.ndarray, input_value: onnx.ValueInfoProto) -> np.ndarray:
    """Images (N, H, W, C) in the order of the dimensions of an input, channels first where both orders would do.

    Raises:
        DataError: the input takes images of another size.
    """
    sizes, (height, width, channels) = dimensions(input_value), images.shape[1:]
    for shape, channels_first in (((channels, height, width), True), ((height, width, channels), False)):
        if len(sizes) == 4 and all(size in (None, wanted) for size, wanted in zip(sizes[1:], shape, strict=True)):
            return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if channels_first else images
    raise DataError(
        f"The model takes images {tuple(sizes[1:])}; the calibration images are {(height, width, channels)} (H, W, C)"
    )


class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Calibration images as ONNX Runtime reads them, one at a time and in the order of the file's dimensions.

    Args:
        calibration: the images, (1, H, W, C) each.
        input_value: the model's input.
        keep: how many of the first images are held in memory, in :attr:`first`. :attr:`opening` is the very first one,
            before anything was read.

    Raises:
        DataError: there is no image, or the images do not fit the model.
    """

    def __init__(self, calibration: CalibrationSet, input_value: onnx.ValueInfoProto, keep: int) -> None:
        self._calibration = calibration
        self._keep = keep
        self.first: list[dict[str, np.ndarray]] = []
        self._input_value = input_value
        self.input_name = input_value.name
        first = next(calibration.images(), None)
        if first is None:
            raise no_images(calibration)
        height, width, channels = first.shape[1:]
        self.input_shape = (height, width, channels)
        self.opening = self._feed(
            checked_image(first, self.input_shape, f"Calibration image 1 of {calibration.origin}")
        )
        self._images: Iterator[np.ndarray] = checked_images(calibration, self.input_shape)
        self._left: int | None = None
        self.count = 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image under the input's name; None after the last one of the range or of the set."""
        if self._left == 0:
            return None
        image = next(self._images, None)
        if image is None:
            return None
        if self._left is not None:
            self._left -= 1
        self.count += 1
        feed = self._feed(image)
        if len(self.first) < self._keep:
            self.first.append(feed)
        return feed

    def _feed(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {self._input_value.name: arranged(image, self._input_value)}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Lets :meth:`get_next` give the next ``end_index - start_index`` images; ranges follow each other."""
        self._left = end_index - start_index

    def __len__(self) -> int:
        return self._calibration.num_images

    def __deepcopy__(self, memo: dict[int, Any]) -> CalibrationImages:
        return CalibrationImages(self._calibration, self._input_value, self._keep)


class _FirstOnly(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """The first image alone: ONNX Runtime always calibrates, also where all ranges are known."""

    def __init__(self, images: CalibrationImages) -> None:
        self._left = images.first[:1]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The first image, then None."""
        return self._left.pop() if self._left else None


def quantize_qdq(
    model: onnx.ModelProto,
    calibration: CalibrationSet,
    params: QuantizationParams,
    path: Path,
    workdir: Path,
    grids: Mapping[str, Grid],
) -> tuple[int, tuple[int, int, int]]:
    """Writes the quantized form of a float model, with pairs of QuantizeLinear and DequantizeLinear.

    Args:
        model: a float model.
        calibration: images to measure the ranges of activations with.
        params: number formats, calibration method and selection of nodes.
        path: the file to write.
        workdir: existing folder; a temporary folder is made there and removed.
        grids: activations that are not measured, by name.

    Returns:
        The number of calibration images used, and their (H, W, C).

    Raises:
        DataError: no or unfit calibration images, unknown nodes or tensors, or a refusal of ONNX Runtime.
    """
    options, extra = params.onnx_quant_parameters, params.onnx_extra_options
    keep = CORRECTION_IMAGES if params.bias_correction else 1
    images = CalibrationImages(calibration, image_inputs(model)[0], keep=keep)
    method = options.calibrate_method if params.activation_clipping == "none" else "MinMax"
    by_image = method != "MinMax"
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".onnx.", dir=workdir) as folder,
            prints_to_log(logger),
            _scales_summed_up(),
        ):
            # by path: given a model in memory, ONNX Runtime moves its weights to a file that its checks then miss
            given, prepared = Path(folder, "float.onnx"), Path(folder, "prepared.onnx")
            onnx.save(model, given)
            quant_pre_process(given, prepared, skip_symbolic_shape=True)
            graph = onnx.load(prepared)
            _check_names(graph, options)
            if params.bias_correction:
                give_biases(graph)
                onnx.save(graph, prepared)
            overrides: dict[str, Any] = {}
            reader: CalibrationDataReader = images
            if params.activation_clipping != "none":
                ranges = clipped_ranges(graph, iter(images.get_next, None), params.activation_clipping)
                overrides = {name: [_range_override(limits, options.activType)] for name, limits in ranges.items()}
                reader = _FirstOnly(images)
            else:  # ONNX Runtime leaves NaN out, or calls it a scale issue
                clipped_ranges(graph, [images.opening], "none")
            if calibration.pixel_range is not None:
                pixels = _range_override(calibration.pixel_range, options.activType)
                overrides |= {name: [pixels] for name in only_moved(graph, images.input_name)}
            quantize_static(
                str(prepared),  # neural-compressor, which SmoothQuant is handed on to, knows no Path
                path,
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=sorted(options.op_types_to_quantize),
                per_channel=params.granularity == "per_channel",
                activation_type=_quant_type(options.activType),
                weight_type=_quant_type(options.weightType),
                nodes_to_quantize=list(options.nodes_to_quantize),
                nodes_to_exclude=list(options.nodes_to_exclude),
                calibrate_method=CalibrationMethod[method],
                extra_options=_extra_options(
                    extra,
                    by_image=by_image,
                    known=overrides | _trained_overrides(graph, grids, options.activType),
                ),
            )
            if params.bias_correction:
                quantized = onnx.load(path)
                correct_biases(graph, quantized, images.first)
                onnx.save(quantized, path)
    except (ReidfwError, MemoryError, OSError):
        raise
    except Exception as cause:
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise DataError(f"ONNX Runtime cannot quantize the model: {reason}") from cause
    return images.count, images.input_shape


@contextmanager
def _scales_summed_up() -> Iterator[None]:
    """Lowers what ONNX Runtime says of each channel whose weight scale it enlarges to DEBUG, and says it once."""
    root, count = logging.getLogger(), 0

    def lowered(record: logging.LogRecord) -> bool:
        nonlocal count
        if not record.getMessage().startswith("Increased scale["):
            return True
        count += 1
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return root.isEnabledFor(logging.DEBUG)

    root.addFilter(lowered)
    try:
        yield
    finally:
        root.removeFilter(lowered)
        if count:
            logger.info("ONNX Runtime enlarged the weight scale of %d channels, for their biases to fit int32", count)


def check_runs(path: Path) -> None:
    """Checks that ONNX Runtime can load a file. Raises DataError."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as cause:  # ONNX Runtime's errors share no base class
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise DataError(f"ONNX Runtime cannot load the quantized model: {reason}") from cause


def float_layers(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions and matrix products whose inputs are not de-quantized integers."""
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return tuple(
        node.name or node.output[0]
        for node in model.graph.node
        if node.op_type in {"Conv", "ConvTranspose", "Gemm", "MatMul"} and not set(node.input[:2]) <= dequantized
    )


def operator_counts(model: onnx.ModelProto) -> dict[str, int]:
    """How often each kind of operator occurs, sorted by kind."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def _check_names(model: onnx.ModelProto, options: OnnxQuantParameters) -> None:
    names = {node.name for node in model.graph.node}
    unknown = sorted({*options.nodes_to_quantize, *options.nodes_to_exclude} - names)
    if unknown:
        shown = ", ".join(sorted(names)[:20])
        raise DataError(
            f"The model has no node {', '.join(unknown)}; its nodes are {shown}{' ...' * (len(names) > 20)}"
        )
    asked, present = set(options.op_types_to_quantize), {node.op_type for node in model.graph.node}
    known = present | QDQRegistry.keys() | QLinearOpsRegistry.keys()
    for op_type in sorted(asked - known):
        near = nearest_match(op_type, known)
        raise DataError(
            f"op_types_to_quantize: there is no operator {op_type}" + (f" (did you mean '{near}'?)" if near else "")
        )
    if asked and not asked & present:
        raise DataError(
            f"op_types_to_quantize: the model has no {', '.join(sorted(asked))}; it has {', '.join(sorted(present))}"
        )


def _trained_overrides(model: onnx.ModelProto, grids: Mapping[str, Grid], activation_type: str) -> dict[str, Any]:
    """Grids of a training in the words of ONNX Runtime."""
    known = {name for node in model.graph.node for name in (*node.input, *node.output)}
    if unknown := sorted(set(grids) - known):
        logger.warning("ONNX Runtime joined these activations with others; they are measured: %s", ", ".join(unknown))
    lowest = 0 if activation_type == "UInt8" else -128
    return {
        name: [
            {
                "quant_type": _quant_type(activation_type),
                "scale": np.array(grid.scale, np.float32),
                "zero_point": np.array(grid.zero_point + lowest, np.int64),
            }
        ]
        for name, grid in grids.items()
        if name in known
    }


def _range_override(limits: tuple[float, float], activation_type: str) -> dict[str, Any]:
    low, high = (np.array(limit, np.float32) for limit in limits)
    return {"quant_type": _quant_type(activation_type), "rmin": low, "rmax": high}


def _extra_options(extra: OnnxExtraOptions, *, by_image: bool, known: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = extra.model_dump(exclude={"weights_tensor_override", "activations_tensor_override"})
    overrides = dict(known)
    for tensor, setting in (*extra.weights_tensor_override, *extra.activations_tensor_override):
        [before] = overrides.get(tensor, [{}])
        overrides[tensor] = [_merged(before, _override(setting))]
    if overrides:
        options["TensorQuantOverrides"] = overrides
    if by_image:
        # histograms of one image after the other: all at once, ONNX Runtime keeps each activation of each image
        options["CalibStridedMinMax"] = 1
    return options


def _merged(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The user's settings of a tensor, with the range that is known of it where they name none."""
    if "scale" in given or "zero_point" in given:
        return dict(given)
    if "scale" in known and known["quant_type"] != given["quant_type"]:
        lowest = 0 if known["quant_type"] == QuantType.QUInt8 else -128
        low, high = (known["scale"] * np.float32(end - known["zero_point"]) for end in (lowest, lowest + 255))
        known = {"rmin": low, "rmax": high}
    return {**known, **given}


def _override(setting: TensorOverride) -> dict[str, Any]:
    override: dict[str, Any] = {"quant_type": _quant_type(setting.quant_type)}
    if setting.scale is not None:
        override["scale"] = np.array(setting.scale, np.float32)
    if setting.zero_point is not None:
        override["zero_point"] = np.array(setting.zero_point, np.int64)
    return override


def _quant_type(name: str) -> QuantType:
    return QuantType[f"Q{name}"]
