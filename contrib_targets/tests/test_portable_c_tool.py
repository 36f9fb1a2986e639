"""``benchmarking.tool: portable_c``: what is measured, what is modelled, what is said where something is missing."""

import dataclasses
import json
import shutil

import pytest
from reidfw_targets.board_tools import make_tool
from reidfw_targets.emulation import build_firmware, run_firmware, toolchain
from reidfw_targets.emulation.toolchain import Compiler, find_compiler, find_host_compiler
from reidfw_targets.facts import BOARDS
from reidfw_targets.portable_c import tool as tool_module
from reidfw_targets.portable_c.compiling import check_traced, compile_to, random_images
from reidfw_targets.portable_c.network import shortened
from reidfw_targets.portable_c.report import REPORT_NAME, TABLE_NAME
from reidfw_targets.portable_c.tool import PortableC
from reidfw_targets.published import FIGURES

from reidfw_core.api import DataError, DoesNotFit, ToolFailed, ToolNotFound

for needed in ("unicorn", "elftools"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.slow
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")

F401 = BOARDS["NUCLEO-F401RE"]


def no_tool(*_):
    raise ToolNotFound("There is no such thing", hint="Run: pip install thing")


def benchmark(model, workdir, board=F401, **options):
    workdir.mkdir(parents=True, exist_ok=True)
    report = PortableC(params=PortableC.Params(**options)).benchmark(board, model, workdir)
    return report, json.loads((workdir / REPORT_NAME).read_text())


@pytest.fixture(scope="module")
def measured(int8_file, tmp_path_factory):
    try:
        find_compiler()
    except ToolNotFound as missing:
        pytest.skip(missing.message)
    folder = tmp_path_factory.mktemp("measured")
    return *benchmark(int8_file, folder), (folder / TABLE_NAME).read_text()


def column(report, name):
    return {one.name: getattr(one, name) for one in report.table if getattr(one, name) is not None}


def test_columns_are_kept_apart(measured):
    report, content, table = measured
    counted = column(report, "measured")
    assert counted["RAM in total"] > counted["RAM arena, image included"] > 0
    assert counted["Instructions per MAC"] == pytest.approx(content["measured"]["instructions_per_mac"])
    assert set(column(report, "modelled")) == {"Inference"}
    low, high = column(report, "modelled")["Inference"]
    assert 0 < low < high
    assert "not validated on hardware" in report.origins["modelled"]
    assert "published" not in report.origins
    assert content["published"] == []
    assert report.inference_ms is None  # it is no measurement
    assert "Inference                  ms" in table


def test_every_tensor_is_compared_here_and_on_the_core(measured):
    report, content, _ = measured
    for place in ("on_this_computer", "on_core"):
        assert content["measured"][place]["tensors_equal"]
        assert content["measured"][place]["tensors_compared"] == content["measured"]["on_core"]["tensors_compared"] > 3
    assert "tensors of 1 image equal" in report.details["compared on the core"]


def test_instructions_of_all_layers_are_those_of_the_program(measured):
    report, content, table = measured
    assert [layer.operator for layer in report.layers].count("CONV_2D") == 2
    assert sum(layer.macs for layer in report.layers) == report.macs
    assert all(layer.instructions > 0 for layer in report.layers)
    total = content["measured"]["instructions"]
    assert sum(layer.instructions for layer in report.layers) == pytest.approx(total, rel=0.02)
    assert sum(content["measured"]["instructions_by_function"].values()) == total
    assert all(shortened(layer.name) in table for layer in report.layers)


@needs_qemu
def test_a_second_emulator_agrees(measured):
    report, content, _ = measured
    second = content["measured"]["second_emulator"]
    assert second["emulator"].startswith("QEMU")
    assert second["instructions"] == pytest.approx(content["measured"]["instructions"], rel=1e-3)
    assert second["emulator"] in report.origins["measured"]


def test_published_figures_have_their_own_column(int8_file, tmp_path, monkeypatch):
    row = next(one for one in FIGURES if one.board == "STM32H747I-DISCO" and one.external_ram_kib)
    monkeypatch.setattr(tool_module, "figures_for", lambda board, model, shape: (row,))
    report, content = benchmark(int8_file, tmp_path, BOARDS["STM32H747I-DISCO"], input="rows", verify=0)
    published = column(report, "published")
    assert published["RAM arena, image included"] == row.ram_kib + row.external_ram_kib
    assert published["Inference"] == row.inference_ms
    assert "RAM arena, image included" not in column(report, "measured")  # ours holds no image
    assert column(report, "measured")["RAM arena, image row by row"] > 0
    assert row.source in report.origins["published"]
    assert content["published"][0]["inference_ms"] == row.inference_ms
    assert "compared on the core" in report.details
    assert report.details["compared on the core"] == "no"


def test_without_a_compiler_memory_is_planned_and_labelled(int8_file, tmp_path, monkeypatch):
    for name in (
        "reidfw_targets.emulation.firmware.find_compiler",
        "reidfw_targets.portable_c.host.find_host_compiler",
    ):
        monkeypatch.setattr(name, no_tool)
    monkeypatch.setattr(tool_module, "find_compiler", no_tool)
    assert "memory planned only" in PortableC().find(F401)
    report, content = benchmark(int8_file, tmp_path)
    low, high = column(report, "modelled")["RAM arena, image included"]
    assert low == high == content["modelled"]["ram_arena_kib"] > 0
    assert "ram_arena_kib" not in content["measured"]
    assert set(column(report, "measured")) == {"MACs"}
    assert report.tool == "portable_c (memory planned, not built)"
    assert report.origins["modelled"] == "memory as planned, not built"
    assert len([note for note in content["notes"] if "pip install thing" in note]) == 2


def test_without_an_emulator_flash_is_measured_all_the_same(int8_file, tmp_path, monkeypatch):
    for module in ("emulation", "emulation.unicorn_runner"):
        monkeypatch.setattr(f"reidfw_targets.{module}.require_unicorn", no_tool)
    assert "not run (no stack, instructions, time): There is no such thing" in PortableC().find(F401)
    report, content = benchmark(int8_file, tmp_path)
    assert content["measured"]["flash_total_kib"] == report.total_flash_kib > 0
    assert "instructions" not in content["measured"]
    assert report.total_ram_kib is None
    assert report.tool == "portable_c (built, not run)"
    assert any(note.startswith("built, not run: There is no such thing") for note in content["notes"])


def test_a_flash_that_is_one_kib_too_small_is_told_in_kib(int8_file, tmp_path):
    compiled = compile_to(int8_file.path, tmp_path / "c", kernels="dsp")
    sections = build_firmware(F401, compiled.generated.sources, tmp_path / "f").program.sections
    needed = sum(sections[name] for name in (".vectors", ".text", ".rodata", ".data") if name in sections)

    def with_flash(kib):
        regions = tuple(
            dataclasses.replace(region, size_kib=kib) if region.kind == "flash" else region for region in F401.regions
        )
        return dataclasses.replace(F401, regions=regions)

    enough = -(-needed // 1024)
    benchmark(int8_file, tmp_path / "enough", with_flash(enough + 1), verify=0)
    with pytest.raises(DoesNotFit, match=rf"FLASH has {enough - 1}\.0 KiB and .* KiB too little") as refused:
        benchmark(int8_file, tmp_path / "small", with_flash(enough - 1), verify=0)
    assert refused.value.exit_code == 3


def test_boards_without_a_microcontroller_are_refused():
    with pytest.raises(DataError, match="no microcontroller that runs generated C"):
        PortableC().find(BOARDS["STM32MP257F-EV1"])


def test_a_calibration_file_is_read_before_anything_is_done(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read as a calibration file"):
        PortableC(params=PortableC.Params(calibration=tmp_path / "none.csv")).find(F401)


def test_another_embedding_is_an_error_without_any_trace(int8_file, tmp_path, monkeypatch):
    def run_with_another_output(firmware, images, **options):
        run = run_firmware(firmware, images, **options)
        return dataclasses.replace(run, embeddings=run.embeddings ^ 1)

    monkeypatch.setattr(tool_module, "run_firmware", run_with_another_output)
    with pytest.raises(ToolFailed, match="computes another embedding than LiteRT's reference kernels"):
        benchmark(int8_file, tmp_path, verify=0)


def test_a_weight_that_changed_on_its_way_to_the_core_is_noticed(int8_file, tmp_path, monkeypatch):
    def build_with_another_weight(board, sources, workdir, **options):
        if options.get("trace"):
            source = next(one for one in sources if one.name == "model.c")
            text = source.read_text()
            start = text.index("{\n", text.index("static const int32_t constant_")) + 2
            number = text[start:].split(",")[0].strip()
            source.write_text(text[:start] + str(int(number) ^ 4096) + text[start:].split(number, 1)[1])
        return build_firmware(board, sources, workdir, **options)

    monkeypatch.setattr(tool_module, "build_firmware", build_with_another_weight)
    with pytest.raises(ToolFailed, match=r"on the emulated Cortex-M4, computes other numbers .* elements, by up to"):
        benchmark(int8_file, tmp_path)


def compilers():
    for compiler in ("gcc", "zig"):
        missing = shutil.which("arm-none-eabi-gcc") is None if compiler == "gcc" else toolchain._zig() is None
        yield pytest.param(compiler, marks=pytest.mark.skipif(missing, reason=f"no {compiler} for Cortex-M here"))


@pytest.mark.parametrize("kind", compilers())
def test_all_compilers_make_programs_that_compute_the_same(kind, int8_file, tmp_path, monkeypatch):
    if kind == "zig":
        monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    compiler = find_compiler()
    monkeypatch.undo()
    assert compiler.kind == kind
    compiled = compile_to(int8_file.path, tmp_path / "c", kernels="dsp")
    images = random_images(compiled.network, 1)
    firmware = build_firmware(F401, compiled.generated.sources, tmp_path / "f", compiler=compiler, trace=True)
    assert firmware.compiler == compiler.label
    check = check_traced(compiled, images[0], run_firmware(firmware, images).tensors())
    assert check.different == ()
    assert check.tensors > 3


def test_the_compiler_that_cc_names_is_taken(monkeypatch):
    found = find_host_compiler()
    monkeypatch.setenv("CC", " ".join(found.command))
    monkeypatch.setattr(toolchain, "_HOST_COMPILERS", ())
    assert find_host_compiler() == Compiler(kind="gcc", command=found.command, version=find_host_compiler().version)
    monkeypatch.setenv("CC", "no-such-compiler -m32")
    with pytest.raises(ToolNotFound, match="CC names 'no-such-compiler'"):
        find_host_compiler()


def test_options_are_checked():
    with pytest.raises(ValueError, match="verify"):
        make_tool("portable_c", PortableC().settings, {"verify": 65})
    assert make_tool("portable_c", PortableC().settings, {"verify": 0}).params.verify == 0
