"""Deployments with programs that behave as ST's do: every command line, every file, every fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reidfw_core.api import (
    ApplicationSettings,
    BoardNotFound,
    DataError,
    DoesNotFit,
    ModelFile,
    ModelFormat,
    ReidfwError,
    StorageError,
    ToolFailed,
    ToolNotFound,
    no_progress,
)

if sys.platform == "win32":
    pytest.skip("the stand-ins are POSIX programs", allow_module_level=True)

from reidfw_targets import boards
from reidfw_targets.facts import BOARDS

from .conftest import as_model
from .vendor_deployment import SERIAL, Vendor
from .vendor_tool import INFO, REPORT

APP = ApplicationSettings(
    max_object_detect=20,
    max_object_tracking=10,
    score_threshold=0.31415926,
    threshold_origin="run/best_reid_threshold.json",
    lost_time_in_ms=60000,
    start_tracking_conf_threshold=0.9,
)
NUCLEO = {"board": "NUCLEO-N657X0-Q", "loader": "MX25UM51245G_STM32N6570-NUCLEO.stldr"}
DISCO = {"board": "STM32H747I-DISCO", "loader": "MT25TL01G_STM32H747I-DISCO.stldr"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("STM32_", "STEDGEAI")):
            monkeypatch.delenv(name)


def board_of(vendor: Vendor, **params):
    kind = {
        "STM32N6570-DK": boards.Stm32n6570Dk,
        "NUCLEO-N657X0-Q": boards.NucleoN657x0q,
        "STM32H747I-DISCO": boards.Stm32h747iDisco,
        "NUCLEO-H743ZI2": boards.NucleoH743zi2,
    }[vendor.board]
    values = {"c_project_path": vendor.project, "path_to_stedgeai": vendor.stedgeai, "path_to_cubeIDE": vendor.cube_ide}
    return kind(kind.Params(**{**values, **params}))


def deployed(vendor: Vendor, model: ModelFile, **params):
    workdir = vendor.root / "generated"
    workdir.mkdir(exist_ok=True)
    return board_of(vendor, **params).deploy_model(model, workdir, APP, no_progress)


def defines(header: Path) -> dict[str, str]:
    lines = [line.split(None, 2) for line in header.read_text().splitlines() if line.startswith("#define")]
    return {parts[1]: parts[2] if len(parts) > 2 else "" for parts in lines}


@pytest.mark.slow
def test_an_n6_is_deployed_to_step_by_step(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path).write()
    report = deployed(vendor, int8_file)
    generated, app = tmp_path / "generated", vendor.project / "app"
    settings = generated / "user_neuralart_STM32N6570-DK.json"
    programmer = vendor.tools / "tools" / "bin" / "STM32_Programmer_CLI"
    loader = str(programmer.parent / "ExternalLoader" / vendor.loader)
    write = ["STM32_Programmer_CLI", "-c", "port=swd", f"sn={SERIAL}", "mode=HOTPLUG", "--extload", loader, "-w"]
    assert vendor.calls() == [
        ["stedgeai", "--version"],
        ["STM32_Programmer_CLI", "--list"],
        [
            *("stedgeai", "generate", "--target", "stm32n6", "-m", str(int8_file.path)),
            *("--output", str(generated), "--workspace", str(generated)),
            *("--no-outputs-allocation", "--name", "reid", "--st-neural-art", f"reid@{settings}"),
            *("--input-data-type", "uint8", "--output-data-type", "uint8", "--inputs-ch-position", "chlast"),
        ],
        [
            *("stm32cubeide", "--launcher.suppressErrors", "-nosplash"),
            *("-application", "org.eclipse.cdt.managedbuilder.core.headlessbuild"),
            *("-import", str(app), "-data", str(generated / "cubeide_workspace"), "-cleanBuild", "Project/Debug"),
        ],
        [
            *("STM32_SigningTool_CLI", "-s", "-bin", "Debug/Project.bin", "-nk", "-t", "ssbl", "-hv", "2.3"),
            *("-o", "Debug/Project_signed.bin"),
        ],
        [*write, "Debug/Project_signed.bin", "0x70100000"],
        [*write, "model/reid_atonbuf.xSPI2.bin", "0x72000000"],
        [*write, "../Binaries/od.bin", "0x70380000"],
        [*write, "../Binaries/ai_fsbl.hex"],
    ]
    assert report.firmware == app / "Debug" / "Project_signed.bin"
    assert (app / "model" / "reid_atonbuf.xSPI2.bin").read_text() == "w" * 5000
    lib = vendor.project / "Middlewares" / "ST" / "AI"
    assert (lib / "Lib" / "GCC" / "ARMCortexM55" / "lib.a").is_file()
    assert (lib / "Npu" / "ll_aton" / "ll.c").is_file()
    assert "both boot switches to the left" in report.next_steps[0]
    assert "both boot switches to the right" in report.next_steps[1]
    values = defines(app / "Inc" / "app_config.h")
    assert (values["NN_REID_WIDTH"], values["NN_REID_HEIGHT"]) == ("(16)", "(32)")  # not swapped
    assert values["NN_REID_NB_FEATURES"] == "(20)"
    assert values["APP_SCORE_THRESHOLD"] == "(0.31415926f)"
    assert values["APP_LOST_TIME_IN_MS"] == "(60000)"
    assert values["WELCOME_MSG_1"] == '"int8.tflite"'
    logs = sorted(path.name for path in (generated / "logs").iterdir())
    assert logs == [
        "01-generate_the_network_s_c_code.log",
        "02-build_the_application_debug.log",
        "03-sign_the_application.log",
        "flash.log",
        "probes.log",
    ]
    pools = json.loads((generated / "STM32N6570-DK_reid.mpool").read_text())["memory"]["mempools"]
    assert [pool["offset"]["value"] for pool in pools] == [
        *("0x34200000", "0x34270000", "0x342E0000", "0x34350000", "0x90000000", "0x72000000"),
    ]


@pytest.mark.slow
def test_a_nucleo_takes_its_configuration_from_the_output(tmp_path, int8_file, monkeypatch) -> None:
    vendor = Vendor(tmp_path, builder="makefile", **NUCLEO).write()
    plugins = vendor.cube_ide.parent / "plugins"
    for variable, name in (("STM32_MAKE_EXE", "make"), ("STM32_ARM_GCC_COMPILER_EXE", "arm-none-eabi-gcc")):
        monkeypatch.setenv(variable, str(next(plugins.rglob(f"bin/{name}"))))  # whatever else is on PATH
    report = deployed(vendor, int8_file, output="SPI")
    assert report.details["configuration"] == "SPI"
    assert [call[1:] for call in vendor.calls("make")] == [["clean"], ["-j8", "all"]]
    assert vendor.calls("arm-none-eabi-objcopy")[0][1:5] == ["-I", "binary", report_raw(tmp_path), "--change-addresses"]
    assert "BOOT0 and BOOT1 to position 1" in report.next_steps[0]
    values = defines(vendor.project / "app" / "Inc" / "app_config.h")
    assert values["WELCOME_MSG_2"].startswith("{")
    for output, told in ((None, "output is required"), ("HDMI", "no configuration 'HDMI'")):
        with pytest.raises(DataError, match=told):
            deployed(vendor, int8_file, output=output)


def report_raw(root: Path) -> str:
    return str(root / "generated" / "reid_atonbuf.xSPI2.raw")


@pytest.mark.slow
def test_an_h7_with_a_project_of_ones_own(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path, **DISCO).write()
    report = deployed(vendor, int8_file)
    generated = str(tmp_path / "generated")
    assert vendor.calls("stedgeai")[1:] == [
        [
            *("stedgeai", "generate", "--target", "stm32h7", "-m", str(int8_file.path), "--output", generated),
            *("--workspace", generated, "-O", "balanced"),
        ]
    ]
    flash = vendor.calls("STM32_Programmer_CLI")[-1]
    assert flash[1:4] == ["-c", "port=swd", f"sn={SERIAL}"]
    assert flash[-4:] == ["-d", "Release/Project.elf", "-s", "-q"]
    values = defines(vendor.project / "app" / "Inc" / "ai_model_config.h")
    assert values["INPUT_HEIGHT"] == "(32)"
    assert values["INPUT_WIDTH"] == "(16)"
    assert (values["QUANT_INPUT_TYPE"], values["QUANT_OUTPUT_TYPE"]) == ("(1)", "(2)")
    assert values["REID_EMBEDDING_SIZE"] == "(20)"
    assert "reset button" in report.next_steps[0]


@pytest.mark.slow
def test_linked_configurations_are_built_first_and_only_one_is_written(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path, **DISCO).write()
    path = vendor.project / "stmaic_STM32H747I-DISCO.conf"
    conf = json.loads(path.read_text())
    (vendor.project / "cm4").mkdir()
    other = {"name": "cm4", "no_templates": True, "cproject_location": "${ProjectFolder}/cm4"}
    conf["configurations"][0]["linked_conf"] = "cm4"
    conf["configurations"].append({**other, "cproject_config": "Release", "cproject_name": "Cm4"})
    path.write_text(json.dumps(conf))
    deployed(vendor, int8_file)
    assert [call[-1] for call in vendor.calls("stm32cubeide")] == ["Cm4/Release", "Project/Release"]
    assert len([call for call in vendor.calls("STM32_Programmer_CLI") if "-d" in call]) == 1


def footprint(weights: int, activations: int) -> dict[str, object]:
    info = json.loads(json.dumps(INFO))
    info["memory_footprint"] |= {"weights": weights, "activations": activations}
    report = {**REPORT, "ram_size": activations, "rom_size": weights}
    return {"network_report.json": report, "network_c_info.json": info}


@pytest.mark.slow
def test_a_large_model_is_split_over_the_memories(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path, reports=footprint(1_100_000, 441_000), **DISCO).write()
    deployed(vendor, int8_file)
    again = vendor.calls("stedgeai")[-1]
    assert again[-5:] == ["--split-weights", "-O", "balanced", "--memory-pool", str(vendor.project / "mempools.json")]
    source = (vendor.project / "app" / "network_data.c").read_text()
    assert source.count(".InternalFlashSection") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "activations", "told"),
    [
        (1_024_000 + 128_000_000 - 8, 440_000 + 20_000_000, None),
        (1_024_000 + 128_000_000 - 8 + 1, 440_000, "weights take 129,023,993 bytes.*: 1 too many"),
        (1000, 440_000 + 20_000_000 + 1, "activations take 20,440,001 bytes.*: 1 too many"),
    ],
)
def test_a_model_too_large_by_one_byte(tmp_path, int8_file, weights, activations, told) -> None:
    vendor = Vendor(tmp_path, reports=footprint(weights, activations), **DISCO).write()
    if told is None:
        assert deployed(vendor, int8_file).details["flashed"]
        return
    with pytest.raises(DoesNotFit, match=told) as caught:
        deployed(vendor, int8_file)
    assert caught.value.exit_code == 3
    assert not vendor.calls("stm32cubeide")


@pytest.mark.slow
def test_n6_weights_too_large_for_the_flash_by_one_byte(tmp_path, int8_file, monkeypatch) -> None:
    facts = BOARDS["STM32N6570-DK"]
    small = tuple(
        replace(region, size_kib=4999 / 1024) if region.kind == "external_flash" else region for region in facts.regions
    )
    monkeypatch.setattr(boards.Stm32n6570Dk, "facts", replace(facts, regions=small))
    with pytest.raises(DoesNotFit, match="1 too many"):
        deployed(Vendor(tmp_path).write(), int8_file)


FAULTS = {
    "generate fails": ("stedgeai", "print('E010: out of memory'); sys.exit(2)", "E010: out of memory", ToolFailed),
    "generate dies": ("stedgeai", "os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV", ToolFailed),
    "generate makes nothing": ("stedgeai", "made = {}", "made no reid.c", ToolFailed),
    "generate makes no weights": (
        "stedgeai", "made.pop('reid_atonbuf.xSPI2.raw')", "made no reid_atonbuf", ToolFailed,
    ),
    "build fails": ("stm32cubeide", "print('main.c:7: error: x'); sys.exit(1)", "main.c:7: error", ToolFailed),
    "no configuration": (
        "stm32cubeide", "print('WARN: No Config matched Project/Debug'); sys.exit(0)", "No Config matched", ToolFailed,
    ),
    "build makes nothing": ("stm32cubeide", "sys.exit(0)", "there is no .*Project.bin", ToolFailed),
    "signing fails": ("STM32_SigningTool_CLI", "print('bad header'); sys.exit(1)", "bad header", ToolFailed),
    "signing makes nothing": ("STM32_SigningTool_CLI", "sys.exit(0)", "Project_signed.bin", ToolFailed),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_the_first_failure_stops_before_the_board_is_touched(tmp_path, int8_file, name) -> None:
    program, fault, told, error = FAULTS[name]
    vendor = Vendor(tmp_path, faults={program: fault}).write()
    with pytest.raises(error, match=told) as caught:
        deployed(vendor, int8_file)
    assert caught.value.exit_code == 3
    assert vendor.calls()[-1][0] == program  # nothing came after it
    assert not [call for call in vendor.calls("STM32_Programmer_CLI") if "-w" in call]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("sys.exit(1) if '0x72000000' in args else None", "ended with status 1"),
        ("print('Error: failed to erase memory') if '0x72000000' in args else None", "Error: failed to erase memory"),
    ],
    ids=["status", "says so"],
)
def test_a_failure_while_flashing_tells_the_state_of_the_board(tmp_path, int8_file, fault, told) -> None:
    vendor = Vendor(tmp_path, faults={"STM32_Programmer_CLI": fault}).write()
    with pytest.raises(ToolFailed, match=told) as caught:
        deployed(vendor, int8_file)
    assert "written: application (0x70100000)" in caught.value.message
    assert "perhaps half written: weights (0x72000000)" in caught.value.message
    assert "not written: weights (0x70380000), boot loader (ai_fsbl.hex)" in caught.value.message
    assert "both boot switches to the right" in caught.value.message
    assert len([call for call in vendor.calls("STM32_Programmer_CLI") if "-w" in call]) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_flashing_tells_the_state_of_the_board(tmp_path, int8_file) -> None:
    fault = f"open({str(tmp_path / 'flashing')!r}, 'w'); time.sleep(60)"
    vendor = Vendor(tmp_path, faults={"STM32_Programmer_CLI": fault}).write()

    def interrupt() -> None:
        while not (tmp_path / "flashing").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as caught:
        deployed(vendor, int8_file)
    assert time.monotonic() - before < 40
    assert "perhaps half written: application (0x70100000)" in str(caught.value)
    assert "not written: weights" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "params", "told"),
    [
        ({"probes": ()}, {}, "No ST-LINK probe is connected"),
        ({}, {"stlink_serial_number": "123"}, f"serial number 123; connected: {SERIAL}"),
        ({"probes": ("A1", "B2")}, {}, "2 boards STM32N6570-DK are connected: A1, B2"),
        ({"listed_board": "STM32H747I-DISCO"}, {}, "No STM32N6570-DK is connected, but: .*STM32H747I-DISCO"),
        ({"listed_board": "--", "connected_board": "NUCLEO-N657X0-Q"}, {}, "but: .*NUCLEO-N657X0-Q"),
        (
            {"probes": ("A1", "B2"), "listed_board": "", "unreadable": ("A1", "B2")},
            {},
            "A1 on a board that tells no name",
        ),
    ],
)
def test_the_right_board_or_none(tmp_path, int8_file, changes, params, told) -> None:
    vendor = Vendor(tmp_path, **changes).write()
    board = board_of(vendor, **params)
    with pytest.raises(BoardNotFound, match=told) as caught:
        board.probe_target("deploy_model")
    assert caught.value.exit_code == 3
    assert not vendor.calls("stm32cubeide")


@pytest.mark.slow
def test_one_of_several_boards_is_chosen_by_its_serial_number(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path, probes=("A1", "B2"), listed_board="").write()
    assert deployed(vendor, int8_file, stlink_serial_number="b2").details["probe"] == "B2"


@pytest.mark.slow
def test_a_board_that_cannot_be_read_does_not_disturb_the_right_one(tmp_path, int8_file, caplog) -> None:
    vendor = Vendor(tmp_path, probes=("A1", "B2"), listed_board="", unreadable=("A1",)).write()
    assert deployed(vendor, int8_file).details["probe"] == "B2"
    assert any("probe A1 cannot be read" in line for line in caplog.messages)
    with pytest.raises(ToolFailed, match="Unable to get core ID"):
        deployed(vendor, int8_file, stlink_serial_number="A1")


@pytest.mark.slow
def test_building_without_a_board(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path, probes=()).write()
    report = deployed(vendor, int8_file, flash_board=False)
    assert not vendor.calls("STM32_Programmer_CLI")
    assert report.firmware.read_bytes() == b"signedapplication"
    assert "flash_board" in report.next_steps[0]


@pytest.mark.slow
def test_a_detector_of_ones_own(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path).write()
    deployed(vendor, int8_file, detector_model=int8_file.path)
    call = vendor.calls("stedgeai")[-1]
    options = call[call.index("--workspace") + 2 :]
    assert options[:4] == ["--no-inputs-allocation", "--name", "od", "--st-neural-art"]
    assert options[4].startswith("od@")
    assert options[options.index("--output-data-type") + 1] == "int8"


def broken_projects() -> dict[str, tuple[object, str]]:
    one = {"name": "x", "builder": "makefile", "build_cmd": "make"}
    good = {"version": "0.1", "board": "STM32N6570-DK", "configurations": [one]}
    return {
        "other version": ({**good, "version": "9"}, "version is '9'"),
        "other board": ({**good, "board": "STM32H747I-DISCO"}, "board is STM32H747I-DISCO"),
        "no configurations": ({**good, "configurations": []}, "configurations"),
        "wrong kind": ({**good, "env": {"a": 3}}, r"env\.a"),
        "unknown name": ({**good, "env": {"a": "${ProjektFolder}"}, "memory_pool": {"memory_pool_path": "${a}"}},
                         r"did you mean \$\{ProjectFolder\}"),
        "circle": ({**good, "env": {"a": "${b}", "b": "${a}"}, "memory_pool": {"memory_pool_path": "${a}"}},
                   "contain each other"),
        "no command": ({**good, "configurations": [{"name": "x", "builder": "makefile"}]}, "build_cmd missing"),
        "other builder": ({**good, "builder": "cmake"}, "builder"),
        "quotes": ({**good, "configurations": [{**one, "build_cmd": "make 'x"}]}, "No closing quotation"),
        "linked in a circle": ({**good, "configurations": [{**one, "linked_conf": "y"},
                                                           {**one, "name": "y", "linked_conf": "x"}]}, "in a circle"),
        "linked to nothing": ({**good, "configurations": [{**one, "linked_conf": "z"}]}, "no configuration 'z'"),
        "other template": ({**good, "templates": [["", "a", "render"]]}, "known are copy"),
    }  # fmt: skip


@pytest.mark.parametrize("name", broken_projects())
def test_a_project_that_is_not_as_it_should_be(tmp_path, name) -> None:
    conf, told = broken_projects()[name]
    vendor = Vendor(tmp_path, conf=conf).write()
    with pytest.raises(DataError, match=told) as caught:
        board_of(vendor).probe_target("deploy_model")
    assert caught.value.exit_code == 2


def test_a_project_that_is_not_there(tmp_path) -> None:
    vendor = Vendor(tmp_path).write()
    for folder, told in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "no stmaic_\\*.conf at all")):
        with pytest.raises(DataError, match=told):
            board_of(vendor, c_project_path=folder).probe_target("deploy_model")
    (vendor.project / "stmaic_STM32N6570-DK.conf").write_text("{ 'version' ")
    with pytest.raises(DataError, match="JSON with comments"):
        board_of(vendor).probe_target("deploy_model")


@pytest.mark.slow
def test_templates_that_nobody_fills_are_named(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path).write()
    conf = vendor.project / "stmaic_STM32N6570-DK.conf"
    conf.write_text(conf.read_text().replace("/model/reid.c", "/model/network.c").replace("Npu/ll_aton", "Npu/other"))
    (vendor.project / "app" / "model").mkdir()
    (vendor.project / "app" / "model" / "network.c").write_text("of another model")
    with pytest.raises(DataError, match=r"network\.c[\s\S]*other") as caught:
        deployed(vendor, int8_file)
    assert "reid.c" not in caught.value.message
    assert not vendor.calls("stm32cubeide")


def test_missing_and_unusable_tools(tmp_path) -> None:
    vendor = Vendor(tmp_path).write()
    (vendor.tools / "tools" / "bin" / "STM32_SigningTool_CLI").unlink()
    with pytest.raises(ToolNotFound, match="signing tool") as caught:
        board_of(vendor).probe_target("deploy_model")
    assert caught.value.exit_code == 3
    vendor.cube_ide.chmod(0o644)
    with pytest.raises(ToolNotFound, match="may not be executed"):
        board_of(vendor).probe_target("deploy_model")
    with pytest.raises(ToolNotFound, match="in which there is no stm32cubeide"):
        board_of(vendor, path_to_cubeIDE=tmp_path).probe_target("deploy_model")
    vendor = Vendor(tmp_path / "second").write()
    (vendor.tools / "tools" / "bin" / "ExternalLoader" / vendor.loader).unlink()
    with pytest.raises(ToolNotFound, match="no external loader"):
        board_of(vendor).probe_target("deploy_model")
    with pytest.raises(ToolNotFound, match="is not there") as caught:
        board_of(vendor, path_to_stedgeai=tmp_path / "stedgeai").probe_target("deploy_model")
    assert "developer cloud will not do" in caught.value.hint


def test_another_version_of_the_tool_is_refused(tmp_path) -> None:
    vendor = Vendor(tmp_path).write()
    conf = vendor.project / "stmaic_STM32N6570-DK.conf"
    conf.write_text(conf.read_text().replace('"3.0.0"', '"2.1.0"'))
    with pytest.raises(ToolNotFound, match=r"made for ST Edge AI Core 2\.1\.0; .* is 3\.0\.0"):
        board_of(vendor).probe_target("deploy_model")


@pytest.mark.slow
def test_models_that_the_board_cannot_use(tmp_path, keras_file, network, int8_file) -> None:
    from .conftest import convert

    vendor = Vendor(tmp_path).write()
    (tmp_path / "float.tflite").write_bytes(convert(network, optimize=False))
    for model in (keras_file, as_model(tmp_path / "float.tflite")):
        with pytest.raises(DataError, match="is a float model"):
            deployed(vendor, model)
    (tmp_path / "cut.tflite").write_bytes(int8_file.path.read_bytes()[:900])
    with pytest.raises(DataError, match="damaged"):
        deployed(vendor, as_model(tmp_path / "cut.tflite"))
    gone = ModelFile(path=tmp_path / "gone.tflite", format=ModelFormat("tflite"), name="gone")
    with pytest.raises(DataError, match="no model file"):
        deployed(vendor, gone)
    assert not [call for call in vendor.calls("stedgeai") if "generate" in call]


@pytest.mark.slow
def test_embeddings_with_negative_numbers_are_refused_for_the_n6(tmp_path, network, images) -> None:
    import keras

    from .conftest import convert

    signed = keras.Model(network.input, network.output - 0.5)
    (tmp_path / "signed.tflite").write_bytes(convert(signed, images, "uint8", "int8"))
    model = as_model(tmp_path / "signed.tflite")
    with pytest.raises(DataError, match="holds negative numbers"):
        deployed(Vendor(tmp_path / "n6").write(), model)
    assert deployed(Vendor(tmp_path / "h7", **DISCO).write(), model).details["flashed"]


@pytest.mark.slow
def test_float_inputs_and_outputs_hide_no_zero_point(tmp_path, network, images) -> None:
    import keras
    from reidfw_targets.model_io import read_model_io

    from .conftest import convert

    signed = keras.Model(network.input, network.output - 0.5)
    for name, model in (("signed", signed), ("good", network)):
        (tmp_path / f"{name}.tflite").write_bytes(convert(model, images, "float32", "float32"))
    with pytest.raises(DataError, match="holds negative numbers"):
        deployed(Vendor(tmp_path / "n6").write(), as_model(tmp_path / "signed.tflite"))
    good = as_model(tmp_path / "good.tflite")
    io = read_model_io(good)
    assert (io.input_numbers.scale, io.output_numbers.scale) == (0, 0)
    assert (io.image_integers.dtype.name, io.embedding_integers.zero_point) == ("int8", -128)
    assert deployed(Vendor(tmp_path / "good").write(), good).details["flashed"]


def qdq(path: Path, zero_point: int) -> ModelFile:
    """An ONNX model whose image and embedding are quantized behind a transposition and before a reshaping."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    constants = {
        "s": np.float32(2 / 255), "zi": np.uint8(127), "zo": np.int8(zero_point), "shape": np.array([1, 3]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("QuantizeLinear", ["t", "s", "zi"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "zi"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "s", "zo"], ["e"]),
        helper.make_node("DequantizeLinear", ["e", "s", "zo"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 32, 16, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return as_model(path)


def test_the_integers_inside_an_onnx_file_are_looked_at(tmp_path) -> None:
    from reidfw_targets.model_io import read_model_io

    io = read_model_io(qdq(tmp_path / "good.onnx", -128))
    assert (io.image_integers.dtype.name, io.image_integers.zero_point) == ("uint8", 127)
    assert (io.embedding_integers.dtype.name, io.embedding_integers.zero_point) == ("int8", -128)
    with pytest.raises(DataError, match="holds negative numbers"):
        deployed(Vendor(tmp_path / "n6").write(), qdq(tmp_path / "signed.onnx", 0))


@pytest.mark.slow
def test_the_n6_gets_the_cameras_bytes_as_they_are(tmp_path, int8_file, network, images, caplog) -> None:
    from .conftest import convert

    (tmp_path / "dark.tflite").write_bytes(convert(network, images.clip(-1, 0.6), "int8", "int8"))
    dark = as_model(tmp_path / "dark.tflite")
    board = board_of(Vendor(tmp_path / "n6").write())
    (tmp_path / "generated").mkdir()
    caplog.clear()

    def deploy(model: ModelFile, **app: object) -> None:
        board.deploy_model(model, tmp_path / "generated", replace(APP, **app), no_progress)

    deploy(int8_file, rescaling=(1 / 127.5, -1.0))
    assert not caplog.messages
    deploy(int8_file, aspect_ratio="padding")
    assert any("always stretches" in line for line in caplog.messages)
    assert any("rescaling is not given" in line for line in caplog.messages)
    for model, rescaling in ((int8_file, (1 / 255, 0.0)), (dark, (1 / 127.5, -1.0))):
        with pytest.raises(DataError, match=r"grey levels off"):
            deploy(model, rescaling=rescaling)
    with pytest.raises(DataError, match="color_mode is grayscale"):
        deploy(int8_file, color_mode="grayscale")


@pytest.mark.slow
def test_a_full_disk_is_said(tmp_path, int8_file, monkeypatch) -> None:
    import errno
    import shutil

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    vendor = Vendor(tmp_path).write()
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space left"):
        deployed(vendor, int8_file)
    assert not vendor.calls("stm32cubeide")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_sizes_are_those_of_the_file_whatever_its_layout(tmp_path, network, layout) -> None:
    from reidfw_targets.deployment import header
    from reidfw_targets.model_io import read_model_io

    from .conftest import save_onnx

    io = read_model_io(save_onnx(network, tmp_path / "m.onnx", batch=1, channels_first=layout == "NCHW"))
    (tmp_path / "h.h").write_text(header.app_config(io, APP, "m", two_line_welcome=False))
    values = defines(tmp_path / "h.h")
    assert (values["NN_REID_HEIGHT"], values["NN_REID_WIDTH"]) == ("(32)", "(16)")
    assert values["NN_REID_NB_FEATURES"] == "(20)"  # of the output, not of the input


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "limit"), [("stedgeai", "steps.GENERATE_TIMEOUT_S"), ("STM32_Programmer_CLI", "steps.FLASH_TIMEOUT_S")]
)
def test_a_program_that_hangs_is_stopped(tmp_path, int8_file, monkeypatch, program, limit) -> None:
    vendor = Vendor(tmp_path, faults={program: "time.sleep(60)"}).write()
    monkeypatch.setattr(f"reidfw_targets.deployment.{limit}", 0.5)
    with pytest.raises(ToolFailed, match=r"did not end within 0\.5 s"):
        deployed(vendor, int8_file)


def test_a_dry_run_lists_every_command_and_starts_nothing(tmp_path) -> None:
    vendor = Vendor(tmp_path).write()
    model = ModelFile(path=Path("<run folder>/<model>.tflite"), format=ModelFormat("tflite"), name="model")
    lines = board_of(vendor).list_commands("deploy_model", model, Path("<run folder>/generated"))
    assert [line.title for line in lines] == [
        "List the ST-LINK probes",
        "Generate the network's C code",
        "Build the application (Debug)",
        "Sign the application",
        "Write the application (0x70100000)",
        "Write the weights (0x72000000)",
        "Write the weights (0x70380000)",
        "Write the boot loader (ai_fsbl.hex)",
    ]
    assert "sn=<serial number>" in lines[4].argv
    assert not vendor.calls()
    (asked, measured) = board_of(vendor).list_commands("benchmark_model", model, Path("x"))
    assert asked.argv[1:] == ("--version",)
    assert measured.argv[1:4] == ("generate", "--target", "stm32n6")


@pytest.mark.slow
def test_the_projects_own_profile_is_used_and_checked(tmp_path, int8_file) -> None:
    vendor = Vendor(tmp_path).write()
    conf = vendor.project / "stmaic_STM32N6570-DK.conf"
    pool = '"memory_pool": { "neuralart_user_path": "${ProjectFolder}/mine.json", "profile": "fast" },'
    conf.write_text(conf.read_text().replace('"configurations"', f'{pool} "configurations"'))
    settings = vendor.project / "mine.json"
    with pytest.raises(DataError, match="cannot be read"):
        board_of(vendor).probe_target("deploy_model")
    settings.write_text(json.dumps({"Profiles": {"reid": {}}}))
    with pytest.raises(DataError, match="no profile 'fast'; it has: reid"):
        deployed(vendor, int8_file)
    settings.write_text('{ /* mine */ "Profiles": {"fast": {"memory_pool": "./my.mpool"}} }')
    with pytest.raises(DataError, match="memory pools of 'fast' are not there"):
        deployed(vendor, int8_file)
    settings.write_text(json.dumps({"Profiles": {"fast": {"memory_pool": "./my.mpool"}}}))
    (vendor.project / "my.mpool").write_text('{"memory": {"mempools": [1]}}')
    deployed(vendor, int8_file)
    call = vendor.calls("stedgeai")[-1]
    assert call[call.index("--st-neural-art") + 1] == f"fast@{settings}"


def test_files_that_the_project_names_lie_in_it_and_are_looked_at_first(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    vendor = Vendor(tmp_path / "h7", **DISCO).write()
    conf = vendor.project / "stmaic_STM32H747I-DISCO.conf"
    conf.write_text(conf.read_text().replace("${ProjectFolder}/mempools.json", "mempools.json"))
    board_of(vendor).probe_target("deploy_model")
    (vendor.project / "mempools.json").unlink()
    with pytest.raises(DataError, match=r"h7.my project.mempools\.json"):
        board_of(vendor).probe_target("deploy_model")


def test_a_detector_is_looked_for_first(tmp_path) -> None:
    missing = tmp_path / "od.tflite"
    with pytest.raises(DataError, match=r"detector_model: there is no model file .*od\.tflite"):
        board_of(Vendor(tmp_path / "n6").write(), detector_model=missing).probe_target("deploy_model")
    with pytest.raises(DataError, match="STM32H747I-DISCO compiles no detector"):
        board_of(Vendor(tmp_path / "h7", **DISCO).write(), detector_model=missing).probe_target("deploy_model")


@pytest.mark.parametrize(("serie", "told"), [("stm32n6", None), ("STM32H7", "which is STM32N6"), (5, "string")])
def test_the_series_is_that_of_the_board(serie, told) -> None:
    kind = boards.Stm32n6570Dk
    if told is None:
        assert kind.Params(serie=serie).serie == serie
        return
    with pytest.raises(ValueError, match=told):
        kind.Params(serie=serie)


def test_a_board_that_can_be_deployed_to_keeps_its_other_probes(tmp_path) -> None:
    vendor = Vendor(tmp_path).write()
    assert "3.0.0" in board_of(vendor).probe_target("benchmark_model")
    assert not vendor.calls("STM32_Programmer_CLI")


def test_a_dry_run_needs_no_tool(tmp_path, monkeypatch) -> None:
    vendor = Vendor(tmp_path).write()
    monkeypatch.setenv("PATH", str(tmp_path))
    board = board_of(vendor, path_to_cubeIDE=None, path_to_stedgeai=None)
    model = ModelFile(path=Path("m.tflite"), format=ModelFormat("tflite"), name="m")
    names = {Path(line.argv[0]).name for line in board.list_commands("deploy_model", model, Path("w"))}
    assert names == {"stedgeai", "stm32cubeide", "STM32_SigningTool_CLI", "STM32_Programmer_CLI"}


@pytest.mark.parametrize(
    ("camera", "display", "told"),
    [
        ("CAMERA_INTERFACE_USB", "DISPLAY_INTERFACE_USB", "cannot both be USB"),
        ("CAMERA", None, "input: 'CAMERA' is not known"),
    ],
)
def test_interfaces_of_the_h743(tmp_path, camera, display, told) -> None:
    conf = {
        "version": "0.1",
        "board": "NUCLEO-H743ZI2",
        "configurations": [{"name": "x", "builder": "makefile", "build_cmd": "make"}],
    }
    vendor = Vendor(tmp_path, board="NUCLEO-H743ZI2", conf=conf).write()
    with pytest.raises(DataError, match=told):
        board_of(vendor, input=camera, output=display).probe_target("deploy_model")
    with pytest.raises(DataError, match="cannot be chosen"):
        board_of(Vendor(tmp_path / "dk").write(), output="UVCL").probe_target("deploy_model")


@pytest.mark.slow
def test_the_headers_are_c(tmp_path, int8_file) -> None:
    """A C compiler, where there is one, takes the header."""
    import shutil

    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    from reidfw_targets.deployment import header
    from reidfw_targets.model_io import read_model_io

    io = read_model_io(int8_file)
    name = 'my "best" \\ m\u00f6del??/ */.tflite'
    (tmp_path / "arm_math.h").write_text("")
    (tmp_path / "app_od.h").write_text("")
    (tmp_path / "app_config.h").write_text(header.app_config(io, APP, name, two_line_welcome=True))
    (tmp_path / "ai_model_config.h").write_text(
        header.ai_model_config(io, APP, name, camera="CAMERA_INTERFACE_SPI", display="DISPLAY_INTERFACE_USB")
    )
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "app_config.h"\n'
        "int main(void) { const char *two[] = WELCOME_MSG_2; puts(WELCOME_MSG_1); puts(two[1]);\n"
        '  printf("%.6f %d %d\\n", (double)APP_SCORE_THRESHOLD, NN_REID_WIDTH, NN_REID_HEIGHT); return 0; }\n'
        "#undef APP_MAX_OBJECT_DETECT\n#undef APP_MAX_OBJECT_TRACKING\n#undef APP_SCORE_THRESHOLD\n"
        "#undef APP_LOST_TIME_IN_MS\n#undef APP_START_TRACKING_CONF_THRESHOLD\n"
        '#include "ai_model_config.h"\nfloat scale = REID_OUTPUT_SCALE;\n'
    )
    subprocess.run([compiler, "-Wall", "-Werror", "-o", "main", "main.c"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed == ['my "best" \\ m?del??/ */.tflite', "MCU internal memory", "0.314159 16 32"]


def test_faults_of_the_list_end_with_the_exit_code_of_the_surroundings() -> None:
    assert {error.exit_code for _, _, _, error in FAULTS.values()} == {3}
    assert issubclass(ToolFailed, ReidfwError)
