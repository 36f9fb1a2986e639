"""Every command line of ST's tools that the boards use, word for word."""

from pathlib import Path

import pytest
from reidfw_targets.facts import BOARDS
from reidfw_targets.stedgeai.command import (
    GenerateOptions,
    InputsOutputs,
    benchmark_arguments,
    deployment_arguments,
    target_of,
    validate_arguments,
    validation_generate_arguments,
    version_arguments,
)
from reidfw_targets.stedgeai.executable import Version

M, RUN = Path("M"), Path("RUN")
CORE_2, CUBE_8 = Version(2, 0, 0), Version(8, 1, 0, cube_ai=(8, 1, 0))
CUBE_10_1 = Version.parse("ST Edge AI Core v2.1.0-20194 329b0e98d\n   STM32CubeAI 10.1.0")
FOUR = InputsOutputs(
    input_data_type="uint8", output_data_type="int8", inputs_ch_position="chlast", outputs_ch_position="chfirst"
)
FOUR_WRITTEN = (
    "--input-data-type uint8 --output-data-type int8 --inputs-ch-position chlast --outputs-ch-position chfirst"
)
N6_REID = GenerateOptions(
    no_outputs_allocation=True,
    name="reid",
    st_neural_art="reid@user_neuralart_STM32N6570-DK.json",
    in_out=InputsOutputs(
        input_data_type="uint8", output_data_type="uint8", inputs_ch_position="chlast", outputs_ch_position=""
    ),
)


def benchmark(board: str, optimization: str = "balanced", version: Version = CORE_2) -> list[str]:
    return benchmark_arguments(BOARDS[board], M, RUN, optimization, version)


TABLE = {
    "version": (version_arguments(), "--version"),
    "benchmark": (
        benchmark("STM32H747I-DISCO"),
        "generate --target stm32h7 -m M -v 0 --output RUN --workspace RUN --optimization balanced",
    ),
    "benchmark, time": (
        benchmark("NUCLEO-F401RE", "time"),
        "generate --target stm32f4 -m M -v 0 --output RUN --workspace RUN --optimization time",
    ),
    "benchmark, old tool": (
        benchmark("STM32L4R9I-DISCO", "ram", CUBE_8),
        (
            "generate --target stm32l4 -m M -v 0 --output RUN --workspace RUN --optimization ram "
            "--allocate-inputs --allocate-outputs"
        ),
    ),
    "benchmark, N6": (
        benchmark("STM32N6570-DK", "time"),
        (
            "generate --target stm32n6 -m M -v 0 --output RUN --workspace RUN "
            "--st-neural-art reid@RUN/user_neuralart_STM32N6570-DK.json"
        ),
    ),
    "benchmark, other N6": (
        benchmark("NUCLEO-N657X0-Q"),
        (
            "generate --target stm32n6 -m M -v 0 --output RUN --workspace RUN "
            "--st-neural-art reid@RUN/user_neuralart_NUCLEO-N657X0-Q.json"
        ),
    ),
    "evaluation N6: generate": (
        validation_generate_arguments("stm32n6", M, FOUR, neural_art="default@user_neuralart.json"),
        f"generate --c-api st-ai --model M --target stm32n6 --st-neural-art default@user_neuralart.json {FOUR_WRITTEN}",
    ),
    "evaluation N6: validate": (
        validate_arguments("stm32n6", M, FOUR),
        f"validate --c-api st-ai --model M --target stm32n6 --mode target -d serial:921600 -b 1 {FOUR_WRITTEN}",
    ),
    "evaluation H7P: generate": (
        validation_generate_arguments("stm32h7", M, FOUR),
        f"generate --c-api st-ai --model M --target stm32h7 {FOUR_WRITTEN}",
    ),
    "evaluation H7P: validate": (
        validate_arguments("stm32h7", M, InputsOutputs()),
        "validate --c-api st-ai --model M --target stm32h7 --mode target -d serial:921600 -b 1",
    ),
    "evaluation host": (
        validation_generate_arguments("stm32", M, FOUR, dll=True),
        f"generate --c-api st-ai --model M --target stm32 --dll {FOUR_WRITTEN}",
    ),
    "deployment N6": (
        deployment_arguments("stm32n6", M, RUN, N6_REID, CORE_2),
        (
            "generate --target stm32n6 -m M --output RUN --workspace RUN --no-outputs-allocation --name reid "
            "--st-neural-art reid@user_neuralart_STM32N6570-DK.json --input-data-type uint8 --output-data-type uint8 "
            "--inputs-ch-position chlast"
        ),
    ),
    "deployment H7": (
        deployment_arguments("stm32h7", M, RUN, GenerateOptions(optimization="balanced"), CORE_2),
        "generate --target stm32h7 -m M --output RUN --workspace RUN -O balanced",
    ),
    "deployment H7, large": (
        deployment_arguments(
            "stm32h7",
            M,
            RUN,
            GenerateOptions(split_weights=True, optimization="ram", memory_pool=Path("pools.json")),
            CORE_2,
        ),
        "generate --target stm32h7 -m M --output RUN --workspace RUN --split-weights -O ram --memory-pool pools.json",
    ),
    "deployment, 10.1.0": (
        deployment_arguments("stm32h7", M, RUN, GenerateOptions(), CUBE_10_1),
        "generate --target stm32h7 -m M --output RUN --workspace RUN/workspace",
    ),
    "every option": (
        GenerateOptions(
            no_inputs_allocation=True,
            no_outputs_allocation=True,
            compression="none",
            split_weights=True,
            no_onnx_io_transpose=True,
            no_onnx_optimize=True,
            verbosity=2,
            name="reid",
            st_neural_art="p",
            in_out=FOUR,
            optimization="time",
            extra=("--quiet",),
        ).arguments(),
        (
            "--no-inputs-allocation --no-outputs-allocation -c none --split-weights --no-onnx-io-transpose "
            f"--no-onnx-optimize --verbosity 2 --name reid --st-neural-art p {FOUR_WRITTEN} -O time --quiet"
        ),
    ),
    "no option": (GenerateOptions().arguments(), ""),
}


@pytest.mark.parametrize("name", TABLE)
def test_command_line(name):
    built, expected = TABLE[name]
    assert built == expected.split()


def test_targets_of_all_boards():
    targets = {name: target_of(board) for name, board in BOARDS.items() if not board.linux}
    assert targets == {
        "B-U585I-IOT02A": "stm32u5",
        "NUCLEO-F401RE": "stm32f4",
        "NUCLEO-G474RE": "stm32g4",
        "NUCLEO-H743ZI2": "stm32h7",
        "NUCLEO-N657X0-Q": "stm32n6",
        "STM32F469I-DISCO": "stm32f4",
        "STM32F746G-DISCO": "stm32f7",
        "STM32F769I-DISCO": "stm32f7",
        "STM32H573I-DK": "stm32h5",
        "STM32H735G-DK": "stm32h7",
        "STM32H747I-DISCO": "stm32h7",
        "STM32H7B3I-DK": "stm32h7",
        "STM32H7S78-DK": "stm32h7",
        "STM32L4R9I-DISCO": "stm32l4",
        "STM32N6570-DK": "stm32n6",
    }


def test_names_with_spaces_stay_one_argument():
    folder = Path("a folder")
    arguments = benchmark_arguments(BOARDS["NUCLEO-F401RE"], Path("my model.tflite"), folder, "balanced", CORE_2)
    assert "my model.tflite" in arguments
    assert arguments[arguments.index("--output") + 1] == str(folder)
