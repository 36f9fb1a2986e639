"""Kernels of portable C: every element of odd shapes, and how many instructions whole networks take."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reidfw_targets.portable_c import fixed_point as fp
from reidfw_targets.portable_c.compiling import random_images
from reidfw_targets.portable_c.emitter import write_program
from reidfw_targets.portable_c.host import STRICT, HostProgram
from reidfw_targets.portable_c.network import (
    Convolution,
    Depthwise,
    Elementwise,
    Mean,
    Network,
    Operand,
    Read,
    Requantization,
    Table,
    Tensor,
    Window,
)
from reidfw_targets.portable_c.packing import PACKINGS
from reidfw_targets.portable_c.planner import plan_memory

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this computer"
)
SCALE = 0.02


class Builder:
    """Networks from random numbers, and what their layers must give."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0, *, unsigned: bool = False) -> None:
        self.generator = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.operators: list = []
        self.tensor(shape, -1 if not unsigned else 128, unsigned=unsigned)

    def tensor(self, shape, zero_point, *, unsigned=False):
        number = len(self.tensors)
        self.tensors.append(
            Tensor(
                name=f"t{number}",
                file_index=number,
                shape=shape,
                unsigned=unsigned,
                scale=SCALE,
                zero_point=zero_point,
            )
        )
        return number

    def facts(self, kind, reads, shape, zero_point, **others):
        output = self.tensor(shape, zero_point)
        return {
            "kind": kind, "layer": f"t{output}", "reads": reads, "output": output, "steps": shape[0], **others
        }  # fmt: skip

    def factors(self, channels, real, zero_point, low, high):
        multipliers, shifts = fp.quantize_multipliers(real * self.generator.uniform(0.5, 1.5, channels))
        return Requantization(multipliers=multipliers, shifts=shifts, zero_point=zero_point, low=low, high=high)

    def convolve(
        self,
        filters=None,
        kernel=(1, 1),
        stride=(1, 1),
        pads=None,
        *,
        source=None,
        relu=True,
        limits=None,
        gain=1.0,
        weights=127,
    ):
        """A convolution; with ``filters`` None a depthwise one. ``gain`` makes shifts to the left where it is large."""
        source = len(self.tensors) - 1 if source is None else source
        height, width, depth = self.tensors[source].shape
        totals = [
            max((-(-size // step) - 1) * step + k - size, 0)
            for size, k, step in zip((height, width), kernel, stride, strict=True)
        ]
        pads = [total // 2 for total in totals] if pads is None else pads
        out = -(-height // stride[0]), -(-width // stride[1]), filters or depth
        low, high = limits or (-128, 127)
        zero_point = low if relu else int(self.generator.integers(-20, 20))
        taps = int(np.prod(kernel)) * (depth if filters else 1)
        shape = (filters, *kernel, depth) if filters else (*kernel, depth)
        facts = self.facts(
            "CONV_2D" if filters else "DEPTHWISE_CONV_2D",
            (Read(source, stride=stride[0], kernel=kernel[0], pad=pads[0]),),
            out,
            zero_point,
            macs=out[0] * out[1] * out[2] * taps,
        )
        whole = np.iinfo(np.int8).min if weights == 128 else -weights
        self.operators.append(
            (Convolution if filters else Depthwise)(
                **facts,
                window=Window(kernel=kernel, stride=stride, pad_top=pads[0], pad_left=pads[1]),
                weights=self.generator.integers(whole, min(weights, 127) + 1, shape).astype(np.int8),
                bias=self.generator.integers(-2000, 2000, out[2]).astype(np.int32),
                requantization=self.factors(out[2], gain / (60 * np.sqrt(taps)), zero_point, low, high),
            )
        )
        return facts["output"]

    def quantize(self):
        given = self.tensors[-1]
        facts = self.facts("QUANTIZE", (Read(len(self.tensors) - 1),), given.shape, -1)
        values = np.arange(-128, 128).astype(np.int8)  # bytes 0 to 255 less 128
        self.operators.append(Table(**facts, values=values))

    def add(self, first, second):
        shape = self.tensors[first].shape
        facts = self.facts("ADD", (Read(first), Read(second)), shape, 3)
        sides = []
        for read, (number, real) in enumerate(((first, 0.5), (second, 0.31))):
            multiplier, shift = fp.quantize_multiplier(real)
            sides.append(
                Operand(
                    read=read,
                    constant=None,
                    shape=shape,
                    zero_point=self.tensors[number].zero_point,
                    multiplier=multiplier,
                    shift=shift,
                )
            )
        self.operators.append(
            Elementwise(
                **facts,
                function="add",
                operands=(sides[0], sides[1]),
                requantization=self.factors(1, 2.0**-20, 3, -128, 127),
            )
        )
        return facts["output"]

    def network(self) -> Network:
        """With the mean over the image as embedding."""
        source = len(self.tensors) - 1
        height, width, channels = self.tensors[source].shape
        facts = self.facts("MEAN", (Read(source),), (1, 1, channels), 0)
        facts["steps"] = height
        self.operators.append(Mean(**facts, requantization=self.factors(1, 1 / (height * width), 0, -128, 127)))
        return Network(
            name="built",
            tensors=tuple(self.tensors),
            operators=tuple(self.operators),
            image=0,
            embedding=len(self.tensors) - 1,
        )


def expected(operator, given: np.ndarray, network: Network) -> np.ndarray:
    """What a convolution must give (H, W, C), by the definition of the reference kernels."""
    zero = network.tensors[operator.reads[0].tensor].zero_point
    height, width, channels = network.tensors[operator.output].shape
    window = operator.window
    places = [
        (
            ky,
            kx,
            np.arange(height) * window.stride[0] - window.pad_top + ky,
            np.arange(width) * window.stride[1] - window.pad_left + kx,
        )
        for ky in range(window.kernel[0])
        for kx in range(window.kernel[1])
    ]
    sums = np.zeros((height, width, channels), np.int64) + operator.bias
    for ky, kx, rows, columns in places:
        inside = np.outer((rows >= 0) & (rows < given.shape[0]), (columns >= 0) & (columns < given.shape[1]))
        pixels = given[np.clip(rows, 0, len(given) - 1)][:, np.clip(columns, 0, given.shape[1] - 1)]
        pixels = np.where(inside[:, :, None], pixels.astype(np.int64) - zero, 0)
        if isinstance(operator, Convolution):
            sums += pixels @ operator.weights[:, ky, kx].astype(np.int64).T
        else:
            sums += pixels * operator.weights[ky, kx]
    factors = operator.requantization
    left, right = np.maximum(factors.shifts, 0), np.maximum(-factors.shifts, 0)
    high = ((sums << left) * factors.multipliers + (1 << 30)) >> 31
    rounded = np.where(right > 0, (high - (high < 0) + (1 << np.maximum(right - 1, 0))) >> right, high)
    return np.clip(rounded + factors.zero_point, factors.low, factors.high).astype(np.int8)


def generated(network: Network, kernels: str, folder: Path):
    packing = PACKINGS[kernels]
    plan = plan_memory(network, "resident", packing.scratch_bytes)
    folder.mkdir(exist_ok=True)
    return write_program(plan, packing, b"", folder)


def kernels_of(program) -> set[str]:
    text = (program.folder / "model.c").read_text()
    return {word.strip("{,") for word in text.split() if word.startswith("{pc_")}


def traced_on_host(network, image, folder):
    program = HostProgram(generated(network, "plain", folder / "c"), network, folder, trace=True)
    program.run(image)
    return program.tensors()


def emulated(network, kernels, image, folder, board, *, trace=True):
    for module in ("unicorn", "elftools"):
        pytest.importorskip(module, reason=f"emulation needs {module}")
    from reidfw_targets.emulation import build_firmware, run_firmware
    from reidfw_targets.facts import BOARDS

    from reidfw_core.api import ToolNotFound

    program = generated(network, kernels, folder / "c")
    try:
        firmware = build_firmware(BOARDS[board], program.sources, folder / "firmware", trace=trace)
    except ToolNotFound as missing:
        pytest.skip(missing.message)
    return program, run_firmware(firmware, image[None], time_limit_s=120)


def traced_on_core(network, kernels, image, folder):
    program, run = emulated(network, kernels, image, folder, "NUCLEO-F401RE")
    rows: dict[int, dict[int, bytes]] = {}
    for one in run.trace:
        rows.setdefault(one.tensor, {})[one.row] = one.data
    return program, {
        number: np.stack([np.frombuffer(found[row], np.int8) for row in sorted(found)])
        for number, found in rows.items()
    }


def assert_exact(network, image, tensors):
    tensors = {**tensors, network.image: image.reshape(len(image), -1)}
    compared = 0
    for operator in network.operators:
        if isinstance(operator, Convolution | Depthwise):
            source = network.tensors[operator.reads[0].tensor]
            wanted = expected(operator, tensors[operator.reads[0].tensor].reshape(source.shape), network)
            made = tensors[operator.output].reshape(wanted.shape)
            assert (made == wanted).all(), f"{operator.layer}: {operator.weights.shape}, {operator.window}"
            compared += 1
    assert compared


@st.composite
def chains(draw):
    """Chains of convolutions of any shape."""
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    builder = Builder(size, draw(st.integers(0, 1000)))
    for _ in range(draw(st.integers(1, 4))):
        kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (3, 1), (2, 4)]))
        depthwise = draw(st.booleans())
        builder.convolve(
            None if depthwise else draw(st.integers(1, 13)),
            kernel,
            (draw(st.integers(1, kernel[0])), draw(st.integers(1, 3))),  # rows that nothing reads are not made
            relu=draw(st.booleans()),
            limits=draw(st.sampled_from([None, (-100, 90)])),
            gain=draw(st.sampled_from([0.3, 1.0, 40.0, 400.0])),
            weights=draw(st.sampled_from([20, 127, 128])),
        )
    return builder.network()


@needs_compiler
@pytest.mark.slow
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=chains())
def test_plain_kernels_are_exact_for_any_shape(network, tmp_path_factory):
    image = random_images(network, 1)[0]
    assert_exact(network, image, traced_on_host(network, image, tmp_path_factory.mktemp("plain")))


@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=chains())
def test_dsp_kernels_are_exact_for_any_shape(network, tmp_path_factory):
    image = random_images(network, 1)[0]
    _, tensors = traced_on_core(network, "dsp", image, tmp_path_factory.mktemp("dsp"))
    assert_exact(network, image, tensors)


@pytest.mark.slow
def test_every_dsp_kernel_is_exact(tmp_path):
    builder = Builder((11, 13, 5))
    builder.convolve(64, (3, 3), relu=False)
    builder.convolve(9, (3, 3), relu=False)  # 576 inputs; sums of 24 bits are too few, an odd number of filters
    builder.convolve(12, (1, 1), limits=(-100, 90))
    builder.convolve(None, (3, 3), stride=(2, 2))
    builder.convolve(None, (3, 3), relu=False, weights=128)
    builder.convolve(16, (1, 1), weights=128)
    builder.convolve(8, (1, 1), gain=200.0, relu=False)  # shifts to the left
    builder.convolve(None, (5, 5))
    builder.convolve(None, (3, 1))
    builder.convolve(24, (1, 1), stride=(1, 2), relu=False, weights=60)
    builder.convolve(7, (3, 2), stride=(3, 3))
    network = builder.network()
    image = random_images(network, 1)[0]
    program, tensors = traced_on_core(network, "dsp", image, tmp_path)
    assert_exact(network, image, tensors)
    assert kernels_of(program) >= {
        "pc_convolution_row",
        "pc_depthwise_row",
        "pc_dsp_convolution_row",
        "pc_dsp_convolution_relu_row",
        "pc_dsp_convolution_wide_row",
        "pc_dsp_depthwise_row",
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gcc", "zig"])
@pytest.mark.parametrize("board", ["NUCLEO-F401RE", "STM32N6570-DK"])
def test_kernels_compile_without_a_warning(kind, board, tmp_path):
    from reidfw_targets.emulation import toolchain
    from reidfw_targets.emulation.cores import core_of
    from reidfw_targets.facts import BOARDS

    compiler = toolchain._zig() if kind == "zig" else toolchain.find_compiler()
    if compiler is None or compiler.kind != kind:
        pytest.skip(f"there is no {kind} for Cortex-M")
    builder = Builder((9, 9, 4))
    builder.convolve(8, (3, 3))
    core = core_of(BOARDS[board])
    program = generated(builder.network(), core.kernels, tmp_path)
    for source in program.sources:
        if source.name.startswith("pc_"):
            options = [*toolchain.core_options(compiler, core), *STRICT, "-O2", "-c", source, "-o", tmp_path / "x.o"]
            compiler.compile(options, tmp_path, source.name)


def mobilenet_v1(alpha: float) -> Network:
    """At 256x128x3: A. Howard et al., MobileNets, 2017, table 1."""
    builder = Builder((256, 128, 3), unsigned=True)
    builder.quantize()
    builder.convolve(int(32 * alpha), (3, 3), (2, 2), weights=60)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for filters, stride in plan:
        builder.convolve(None, (3, 3), (stride, stride), weights=60)
        builder.convolve(int(filters * alpha), weights=60)
    return builder.network()


def mobilenet_v2(alpha: float) -> Network:
    """At 256x128x3: M. Sandler et al., MobileNetV2, 2018, table 2."""

    def rounded(filters: float) -> int:
        near = max(8, int(filters + 4) // 8 * 8)
        return near + 8 if near < 0.9 * filters else near

    builder = Builder((256, 128, 3), unsigned=True)
    builder.quantize()
    last = builder.convolve(rounded(32 * alpha), (3, 3), (2, 2), weights=60)
    plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, filters, repeats, first_stride in plan:
        for repeat in range(repeats):
            before, stride = last, 1 if repeat else first_stride
            if expansion > 1:
                builder.convolve(expansion * builder.tensors[last].shape[2], weights=60)
            builder.convolve(None, (3, 3), (stride, stride), weights=60)
            last = builder.convolve(rounded(filters * alpha), relu=False, weights=60)
            if repeat:
                last = builder.add(before, last)
    builder.convolve(1280, weights=60)
    return builder.network()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "millions_of_macs", "kernels", "bar"),
    [
        pytest.param(lambda: mobilenet_v1(0.25), 26.6, "dsp", 1.5, id="MobileNetV1 0.25"),
        pytest.param(lambda: mobilenet_v2(0.35), 37.9, "dsp", 1.85, id="MobileNetV2 0.35"),
        pytest.param(lambda: mobilenet_v1(0.25), 26.6, "plain", 5.6, id="MobileNetV1 0.25 in plain C"),
    ],
)
def test_instructions_of_a_network(network, millions_of_macs, kernels, bar, tmp_path):
    network = network()
    assert network.macs / 1e6 == pytest.approx(millions_of_macs, abs=0.1)  # the network of the published table
    _, run = emulated(network, kernels, random_images(network, 1)[0], tmp_path, "STM32H747I-DISCO", trace=False)
    assert run.instructions / network.macs < bar
