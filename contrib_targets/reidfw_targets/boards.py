"""The STM32 boards: one entry point for each, facts from one table.

A board of this version describes itself; measuring on it and deploying to it are not among its abilities yet, and
the core reads that from the hooks it implements.
"""

from __future__ import annotations

from typing import ClassVar

from reidfw_core.api import Component, ModelFormat, Target, TargetInfo, hookimpl, variant

_SERVICES = "board table of the STM32 AI model zoo services"
_MIB = 1024


class Stm32Board(Target):
    """An STM32 board; the facts stand in :attr:`info`.

    Formats: those that ST Edge AI Core reads, quantized or float.
    Source: the user's document, sections 2.3 (``model_path``) and 2.9 (boards).
    """

    accepts = frozenset(ModelFormat(container) for container in ("keras", "tflite", "onnx"))
    info: ClassVar[TargetInfo]

    @hookimpl
    def describe_target(self) -> TargetInfo:
        """Processor and memory of the board."""
        return self.info


_FACTS: dict[str, TargetInfo] = {
    "B-U585I-IOT02A": TargetInfo(
        core="Cortex-M33", clock_mhz=160, ram_kib=786, flash_kib=2048, external_flash_kib=64 * _MIB, source=_SERVICES
    ),
    "NUCLEO-F401RE": TargetInfo(
        core="Cortex-M4", clock_mhz=84, ram_kib=96, flash_kib=512, source="STM32F401xD/xE data sheet DS10086"
    ),
    "NUCLEO-G474RE": TargetInfo(core="Cortex-M4", clock_mhz=170, ram_kib=128, flash_kib=512, source=_SERVICES),
    "NUCLEO-H743ZI2": TargetInfo(
        core="Cortex-M7", clock_mhz=480, ram_kib=1024, flash_kib=2048, source="STM32H742/743 data sheet DS12110"
    ),
    "NUCLEO-N657X0-Q": TargetInfo(
        core="Cortex-M55",
        ram_kib=4 * 448,
        external_flash_kib=32 * _MIB,
        npu="Neural-ART",
        source="memory pools of the STM32N6 re-identification application (4 x 448 KiB for the NPU)",
    ),
    "STM32F469I-DISCO": TargetInfo(
        core="Cortex-M4",
        clock_mhz=180,
        ram_kib=384,
        flash_kib=2048,
        external_ram_kib=16 * _MIB,
        external_flash_kib=16 * _MIB,
        source=_SERVICES,
    ),
    "STM32F746G-DISCO": TargetInfo(
        core="Cortex-M7",
        clock_mhz=216,
        ram_kib=320,
        flash_kib=1024,
        external_ram_kib=8 * _MIB,
        external_flash_kib=16 * _MIB,
        source="STM32F746xx data sheet DS10916, Discovery kit user manual UM1907",
    ),
    "STM32F769I-DISCO": TargetInfo(
        core="Cortex-M7",
        clock_mhz=216,
        ram_kib=512,
        flash_kib=2048,
        external_ram_kib=1 * _MIB,
        external_flash_kib=64 * _MIB,
        source=_SERVICES,
    ),
    "STM32H573I-DK": TargetInfo(
        core="Cortex-M33",
        clock_mhz=250,
        ram_kib=640,
        flash_kib=2048,
        external_flash_kib=64 * _MIB,
        source="STM32H573xx data sheet DS14258, Discovery kit user manual UM3143",
    ),
    "STM32H735G-DK": TargetInfo(
        core="Cortex-M7",
        clock_mhz=550,
        ram_kib=564,
        flash_kib=1024,
        external_ram_kib=16 * _MIB,
        external_flash_kib=64 * _MIB,
        source=_SERVICES,
    ),
    "STM32H747I-DISCO": TargetInfo(
        core="Cortex-M7 + Cortex-M4",
        clock_mhz=400,
        ram_kib=1024,
        flash_kib=2048,
        external_ram_kib=8 * _MIB,
        external_flash_kib=16 * _MIB,
        source=_SERVICES,
    ),
    "STM32H7B3I-DK": TargetInfo(
        core="Cortex-M7",
        clock_mhz=280,
        ram_kib=1184,
        flash_kib=2048,
        external_ram_kib=16 * _MIB,
        external_flash_kib=64 * _MIB,
        source=_SERVICES,
    ),
    "STM32H7S78-DK": TargetInfo(
        core="Cortex-M7",
        clock_mhz=600,
        ram_kib=620,
        flash_kib=64,
        external_ram_kib=32 * _MIB,
        external_flash_kib=128 * _MIB,
        source="STM32H7Sxx8 data sheet DS14359, Discovery kit user manual UM3289",
    ),
    "STM32L4R9I-DISCO": TargetInfo(
        core="Cortex-M4", clock_mhz=120, ram_kib=640, flash_kib=2048, external_flash_kib=16 * _MIB, source=_SERVICES
    ),
    "STM32MP135F-DK": TargetInfo(
        core="Cortex-A7",
        clock_mhz=1000,
        external_ram_kib=512 * _MIB,
        source="STM32MP135C/F data sheet DS13483, Discovery kit user manual UM2993",
    ),
    "STM32MP157F-DK2": TargetInfo(
        core="2 x Cortex-A7 + Cortex-M4",
        clock_mhz=800,
        external_ram_kib=512 * _MIB,
        source="STM32MP157C/F data sheet DS12505, Discovery kit user manual UM2637",
    ),
    "STM32MP257F-EV1": TargetInfo(
        core="2 x Cortex-A35 + Cortex-M33",
        clock_mhz=1500,
        external_ram_kib=4096 * _MIB,
        npu="NPU and GPU of the STM32MP25",
        source="STM32MP257C/F data sheet DS14284, evaluation board user manual UM3359",
    ),
    "STM32N6570-DK": TargetInfo(
        core="Cortex-M55",
        ram_kib=4 * 448,
        external_ram_kib=16 * _MIB,
        external_flash_kib=32 * _MIB,
        npu="Neural-ART",
        source="memory pools of the STM32N6 re-identification application (4 x 448 KiB for the NPU)",
    ),
}


def _board(name: str, class_name: str) -> type[Component]:
    info = _FACTS[name]
    npu = f", {info.npu}" if info.npu else ""
    return variant(Stm32Board, class_name, doc=f"{name}: {info.core}{npu}. Source: {info.source}.", info=info)


BU585iIot02a = _board("B-U585I-IOT02A", "BU585iIot02a")
NucleoF401re = _board("NUCLEO-F401RE", "NucleoF401re")
NucleoG474re = _board("NUCLEO-G474RE", "NucleoG474re")
NucleoH743zi2 = _board("NUCLEO-H743ZI2", "NucleoH743zi2")
NucleoN657x0q = _board("NUCLEO-N657X0-Q", "NucleoN657x0q")
Stm32f469iDisco = _board("STM32F469I-DISCO", "Stm32f469iDisco")
Stm32f746gDisco = _board("STM32F746G-DISCO", "Stm32f746gDisco")
Stm32f769iDisco = _board("STM32F769I-DISCO", "Stm32f769iDisco")
Stm32h573iDk = _board("STM32H573I-DK", "Stm32h573iDk")
Stm32h735gDk = _board("STM32H735G-DK", "Stm32h735gDk")
Stm32h747iDisco = _board("STM32H747I-DISCO", "Stm32h747iDisco")
Stm32h7b3iDk = _board("STM32H7B3I-DK", "Stm32h7b3iDk")
Stm32h7s78Dk = _board("STM32H7S78-DK", "Stm32h7s78Dk")
Stm32l4r9iDisco = _board("STM32L4R9I-DISCO", "Stm32l4r9iDisco")
Stm32mp135fDk = _board("STM32MP135F-DK", "Stm32mp135fDk")
Stm32mp157fDk2 = _board("STM32MP157F-DK2", "Stm32mp157fDk2")
Stm32mp257fEv1 = _board("STM32MP257F-EV1", "Stm32mp257fEv1")
Stm32n6570Dk = _board("STM32N6570-DK", "Stm32n6570Dk")
