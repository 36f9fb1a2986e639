"""The programs of a deployment as the tests write them: they take ST's command lines and do what ST's programs do,
well or badly. Each call is added to ``calls.jsonl``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .vendor_tool import INFO, REPORT, write_program

SERIAL = "003A00403137510D33333639"

_RECORD = """
import json, os, pathlib, sys, time, signal
with open({calls!r}, "a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
"""

_STEDGEAI = """
args = sys.argv[1:]
def after(name, default=""):
    return args[args.index(name) + 1] if name in args else default
if args == ["--version"]:
    print("ST Edge AI Core v3.0.0-20426 123456789")
    sys.exit(0)
assert args[0] == "generate", args
assert pathlib.Path(after("-m")).is_file(), "no model"
out, name = pathlib.Path(after("--output")), after("--name", "network")
out.mkdir(exist_ok=True)
if "--st-neural-art" in args:
    profile, _, path = after("--st-neural-art").partition("@")
    settings = json.loads(pathlib.Path(path).read_text())
    pools = pathlib.Path(path).parent / settings["Profiles"][profile]["memory_pool"]
    assert json.loads(pools.read_text())["memory"]["mempools"]
    made = {name + ".c": "// network", "stai_" + name + ".c": "// api", "stai_" + name + ".h": "// api",
            name + "_ecblobs.h": "// blobs", name + "_atonbuf.xSPI2.raw": "w" * 5000}
else:
    made = {name + ".c": "// network", name + ".h": "// network", name + "_data.h": "// data",
            name + "_data.c": "const ai_u64 s_network_a[2] = { 1, 2 };\\nconst ai_u8 s_network_b[9] = { 1 };\\n",
            **REPORTS}
FAULT
for file, text in made.items():
    (out / file).write_text(text)
print("elapsed time (generate): 1.2s")
"""

_PROGRAMMER = """
args = sys.argv[1:]
if args == ["--list"]:
    print(LISTED)
    sys.exit(0)
assert args[:2] == ["-c", "port=swd"], args
assert args[2].startswith("sn="), args
if not {"-w", "-d"} & set(args):
    if args[2][3:] in UNREADABLE:
        print("Error: Unable to get core ID")
        sys.exit(1)
    print("ST-LINK SN  : " + args[2][3:])
    print("Board       : " + CONNECTED)
    sys.exit(0)
assert "-hardRst" not in args, args
where = args.index("-w") if "-w" in args else args.index("-d")
assert pathlib.Path(args[where + 1]).is_file(), "no file to write"
assert pathlib.Path(args[args.index("--extload") + 1]).name == LOADER, args
print("Opening and parsing file: " + args[where + 1])
FAULT
print("File download complete")
"""

_SIGNER = """
args = sys.argv[1:]
assert args[0] == "-s", args
source, target = (pathlib.Path(args[args.index(name) + 1]) for name in ("-bin", "-o"))
assert not target.exists(), "the real one would ask whether to overwrite"
FAULT
target.write_bytes(b"signed" + source.read_bytes())
print("Image has been signed")
"""

_CUBE_IDE = """
args = sys.argv[1:]
assert args[:4] == ["--launcher.suppressErrors", "-nosplash", "-application",
                    "org.eclipse.cdt.managedbuilder.core.headlessbuild"], args
project = pathlib.Path(args[args.index("-import") + 1])
name, config = args[args.index("-cleanBuild") + 1].split("/")
FAULT
(project / config).mkdir(exist_ok=True)
(project / config / (name + ".bin")).write_bytes(b"application")
(project / config / (name + ".elf")).write_bytes(b"application")
print("Build Finished. 0 errors, 3 warnings.")
"""

_MAKE = """
FAULT
if "clean" not in sys.argv:
    target = pathlib.Path("build/Project.bin")
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b"application")
print("done")
"""

_OBJCOPY = """
args = sys.argv[1:]
assert args[:2] == ["-I", "binary"], args
pathlib.Path(args[-1]).write_text(":00000001FF")
"""


@dataclass
class Vendor:
    """Where everything lies, and the faults that programs show: Python run in the middle of their work."""

    root: Path
    board: str = "STM32N6570-DK"
    loader: str = "MX66UW1G45G_STM32N6570-DK.stldr"
    builder: str = "stm32_cube_ide"
    listed_board: str | None = None
    connected_board: str | None = None
    probes: tuple[str, ...] = (SERIAL,)
    unreadable: tuple[str, ...] = ()
    faults: dict[str, str] = field(default_factory=dict)
    reports: dict[str, Any] = field(
        default_factory=lambda: {"network_report.json": REPORT, "network_c_info.json": INFO}
    )
    conf: dict[str, Any] = field(default_factory=dict)

    @property
    def stedgeai(self) -> Path:
        return self.root / "ST Edge AI" / "3.0" / "Utilities" / "linux" / "stedgeai"

    @property
    def cube_ide(self) -> Path:
        return self.root / "ide" / "stm32cubeide"

    @property
    def tools(self) -> Path:
        """As in STM32CubeIDE: the programmer is a plug-in."""
        return self.root / "ide" / "plugins" / "com.st.stm32cube.ide.mcu.externaltools.cubeprogrammer.linux64_2.2.1"

    @property
    def project(self) -> Path:
        return self.root / "my project"

    def write(self) -> Vendor:
        """Writes programs, installation and C project."""
        name = self.listed_board if self.listed_board is not None else self.board
        listed = "===== STLink Interface =====\n-------- Connected ST-LINK Probes List --------\n" + "".join(
            f"\nST-Link Probe {number} :\n   ST-LINK SN  : {serial}\n   ST-LINK FW  : V3J13M4\n"
            f"   Access Port Number : 1\n   Board Name  : {name}\n"
            for number, serial in enumerate(self.probes)
        )
        texts = {file: value if isinstance(value, str) else json.dumps(value) for file, value in self.reports.items()}
        self._program(self.stedgeai, _STEDGEAI.replace("REPORTS", repr(texts)))
        self._program(
            self.tools / "tools" / "bin" / "STM32_Programmer_CLI",
            _PROGRAMMER.replace("LISTED", repr(listed))
            .replace("CONNECTED", repr(self.connected_board or self.board))
            .replace("UNREADABLE", repr(self.unreadable))
            .replace("LOADER", repr(self.loader)),
        )
        self._program(self.tools / "tools" / "bin" / "STM32_SigningTool_CLI", _SIGNER)
        loaders = self.tools / "tools" / "bin" / "ExternalLoader"
        loaders.mkdir()
        (loaders / self.loader).write_text("loader")
        self._program(self.cube_ide, _CUBE_IDE)
        plugins = self.cube_ide.parent / "plugins"
        gcc = plugins / "com.st.stm32cube.ide.mcu.externaltools.gnu-tools-for-stm32.12.3.rel1.linux64_1.1.0"
        self._program(gcc / "tools" / "bin" / "arm-none-eabi-gcc", "")
        self._program(gcc / "tools" / "bin" / "arm-none-eabi-objcopy", _OBJCOPY)
        make = plugins / "com.st.stm32cube.ide.mcu.externaltools.make.linux64_2.2.0"
        self._program(make / "tools" / "bin" / "make", _MAKE)
        runtime = self.stedgeai.parents[2] / "Middlewares" / "ST" / "AI"
        for name in ("Inc/ai_runtime.h", "Lib/GCC/ARMCortexM55/lib.a", "Lib/GCC/ARMCortexM7/lib.a", "Npu/ll_aton/ll.c"):
            (runtime / name).parent.mkdir(parents=True, exist_ok=True)
            (runtime / name).write_text(name)
        self._write_project()
        return self

    def calls(self, program: str | None = None) -> list[list[str]]:
        """The command lines so far, of one program or all."""
        path = self.root / "calls.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [call for line in lines if (call := json.loads(line))[0] == program or program is None]

    def _program(self, path: Path, body: str) -> None:
        fault = self.faults.get(path.name, "pass")
        code = _RECORD.format(calls=str(self.root / "calls.jsonl")) + body.replace("FAULT", f"exec({fault!r})")
        write_program(path, code)

    def _write_project(self) -> None:
        (self.project / "app").mkdir(parents=True)
        (self.project / "Binaries").mkdir()
        (self.project / "Binaries" / "ai_fsbl.hex").write_text(":00000001FF")
        (self.project / "Binaries" / "od.bin").write_text("detector")
        if self.conf:
            text = json.dumps(self.conf)
        elif self.board.startswith("STM32H7"):
            text = self._h7_conf()
        else:
            text = self._n6_conf()
        (self.project / f"stmaic_{self.board}.conf").write_text(text)

    def _n6_conf(self) -> str:
        flash = "${flasher} -c port=swd mode=HOTPLUG -hardRst -w"
        build = (
            '"cproject_location": "${app}", "cproject_config": "Debug", "cproject_name": "Project",'
            if self.builder == "stm32_cube_ide"
            else '"clean_cmd": "${STM32Make} clean", "build_cmd": "${STM32Make} -j8 all",'
        )
        out = "Debug" if self.builder == "stm32_cube_ide" else "build"
        names = ("UVCL", "SPI") if self.board == "NUCLEO-N657X0-Q" else ("Debug",)
        configurations = ",".join(
            f"""{{
                "name": "{name}", "cwd": "${{app}}", {build}
                "external_loader": "{self.loader}",
                "sign_cmd": "${{signer}} -s -bin {out}/Project.bin -nk -t ssbl -hv 2.3 -o {out}/Project_signed.bin",
                "flash_cmd": "{flash} {out}/Project_signed.bin 0x70100000",
                "flash_network_data_cmd": ["{flash} model/reid_atonbuf.xSPI2.bin 0x72000000",
                                           "{flash} ../Binaries/od.bin 0x70380000"],
                "flash_fsbl_cmd": "{flash} ../Binaries/ai_fsbl.hex",
            }}"""
            for name in names
        )
        return f"""{{
            // the project of the application
            "version": "0.1", "description": "test", "series": "stm32n6", "board": ["{self.board}"],
            "builder": "{self.builder}",
            "env": {{ "app": "${{ProjectFolder}}/app", "flasher": "${{STM32CubeProgrammer}}",
                      "signer": "${{STM32SigningTool}}", "lib": "${{ProjectFolder}}/Middlewares/ST/AI", }},
            "templates": [
                ["", "${{app}}/Inc/app_config.h", "copy"],
                ["", "${{app}}/model/reid.c", "copy"], ["", "${{app}}/model/stai_reid.h", "copy"],
                ["", "${{app}}/model/reid_atonbuf.xSPI2.raw", "copy"],
                ["", "${{lib}}/Lib/GCC/ARMCortexM55", "copy-dir"], ["", "${{lib}}/Inc", "copy-dir"],
                ["", "${{lib}}/Npu/ll_aton", "copy-dir"],
            ],
            "configurations": [{configurations}],
            "stm_ai_runtime": {{ "version": "3.0.0", "toolchain": "gcc" }},
        }}"""

    def _h7_conf(self) -> str:
        pools = {"memory": {"mempools": [
            _pool("AXIRAM", 0x24000000, 440), _pool("SDRAM", 0xD0000000, 20_000),
        ]}}  # fmt: skip
        (self.project / "mempools.json").write_text(json.dumps(pools))
        return json.dumps(
            {
                "version": "0.1", "series": "stm32h7", "board": self.board, "builder": "stm32_cube_ide",
                "env": {"app": "${ProjectFolder}/app"},
                "templates": [["", "${app}/Inc/ai_model_config.h", "copy"], ["", "${app}/network.c", "copy-file"],
                              ["", "${app}/network_data.c", "copy"], ["", "${app}/AI/Inc", "copy-dir"]],
                "memory_pool": {"internalFlash_size": "1024KB", "externalFlash_size": "128000KB",
                                "application_size": "8B", "memory_pool_path": "${ProjectFolder}/mempools.json"},
                "configurations": [{
                    "name": "release", "cwd": "${app}", "cproject_location": "${app}", "cproject_config": "Release",
                    "cproject_name": "Project", "external_loader": self.loader,
                    "flash_cmd": "${STM32CubeProgrammer} -c port=swd -d Release/Project.elf -s -q",
                }],
            }
        )  # fmt: skip


def _pool(name: str, origin: int, size_kb: int) -> dict[str, Any]:
    return {
        "name": name,
        "prop": {"rights": "ACC_WRITE"},
        "offset": {"value": hex(origin), "magnitude": "BYTES"},
        "size": {"value": str(size_kb), "magnitude": "KBYTES"},
    }
