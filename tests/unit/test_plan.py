"""The plan: twelve modes, their letters, and what is refused before any work."""

from __future__ import annotations

import pytest

from reidfw_core.config.modes import OPERATION_MODES
from reidfw_core.plan.chains import CHAINS
from reidfw_core.plan.steps import STEPS

LETTERS = {"t": "train", "e": "evaluate", "q": "quantize", "b": "benchmark", "d": "deploy"}
SINGLE = {
    "training": "train",
    "evaluation": "evaluate",
    "quantization": "quantize",
    "prediction": "predict",
    "benchmarking": "benchmark",
    "deployment": "deploy",
}


def test_the_chains_are_those_of_the_document() -> None:
    assert (
        set(CHAINS)
        == set(OPERATION_MODES)
        == {
            *SINGLE,
            "chain_tqeb",
            "chain_tqe",
            "chain_eqe",
            "chain_qb",
            "chain_eqeb",
            "chain_qd",
        }
    )


@pytest.mark.parametrize("mode", CHAINS)
def test_each_mode_does_what_its_letters_say(mode: str) -> None:
    steps = [step for step in CHAINS[mode] if not step.endswith("?")]
    expected = [SINGLE[mode]] if mode in SINGLE else [LETTERS[letter] for letter in mode.removeprefix("chain_")]
    assert steps == expected
    assert {step.rstrip("?") for step in CHAINS[mode]} <= set(STEPS)


@pytest.mark.parametrize("mode", ["chain_tqeb", "benchmarking", "chain_qb", "chain_eqeb"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tools.stedgeai.on_cloud=True", "needs an account of www.st.com"),
        ("tools.stedgeai.path_to_stedgeai='{folder}'", "in which there is no stedgeai"),
        ("benchmarking.board=STM32MP257F-EV1", "runs Linux; only ST's developer cloud"),
    ],
)
def test_a_board_that_cannot_benchmark_is_refused_before_training(
    reidfw, tiny_config, tmp_path, monkeypatch, mode: str, override: str, message: str
) -> None:
    for name in ("stmai_username", "stmai_password", "STEDGEAI_CORE_DIR", "STM32_AI_EXE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    model = tmp_path / "best_model.keras"
    model.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    outcome = reidfw(
        "run",
        tiny_config,
        f"operation_mode={mode}",
        "benchmarking.board=STM32H747I-DISCO",
        override.format(folder=tmp_path / "empty"),
        "tools.stedgeai.optimization=time",
        *([] if mode == "chain_tqeb" else ["~model.model_name", f"model.model_path='{model}'"]),
    )
    assert outcome.code == 3, outcome.text
    assert message in outcome.text
    assert "Hint: " in outcome.text
    assert not (tmp_path / "experiments_outputs").exists()


def test_an_input_that_the_backbone_or_the_colours_do_not_allow(reidfw, tiny_config) -> None:
    for override, message in (
        ("model.input_shape='(16, 32, 3)'", "at least 32 pixels"),
        ("model.input_shape='(64, 32, 1)'", "color_mode is rgb"),
        ("training.instances_per_identity=1", "needs at least 2 images of each identity"),
    ):
        outcome = reidfw("run", tiny_config, "--dry-run", override)
        assert outcome.code == 2, outcome.text
        assert message in outcome.text


def test_a_file_that_the_quantizer_does_not_take_is_answered_with_the_one_that_does(
    reidfw, tiny_config, tmp_path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"")
    mode = ("operation_mode=quantization", "~model.model_name", f"model.model_path='{model}'")
    outcome = reidfw("run", tiny_config, "--dry-run", *mode)
    assert outcome.code == 2
    assert "'TFlite_converter' does not take an onnx/* model; it takes keras/float32" in outcome.text
    assert "quantization.quantizer: onnx_quantizer)" in outcome.text


@pytest.mark.parametrize(
    ("override", "note"),
    [
        ("+quantization.qat.epochs=2", "quantization.qat has no effect without quantization.quantization_type: QAT"),
        ("+quantization.keep_layers_at=float", "keep_layers_at has no effect without quantization.max_map_drop"),
        (
            "+dataset.quantization_allow_random=True",
            "quantization_allow_random has no effect beside dataset.training_path",
        ),
    ],
)
def test_what_has_no_effect_on_a_quantization_is_told(reidfw, tiny_config, override: str, note: str) -> None:
    assert note in " ".join(reidfw("run", tiny_config, "--dry-run", override).text.split())
    assert "no effect" not in reidfw("run", tiny_config, "--dry-run").text
    assert "no effect" not in reidfw("run", tiny_config, "--dry-run", override, "operation_mode=training").text


def test_a_dry_run_prints_the_plan_and_writes_nothing(reidfw, tiny_config, tmp_path) -> None:
    outcome = reidfw("run", tiny_config, "--dry-run")
    assert outcome.code == 0
    for word in ("train", "evaluate", "quantize", "evaluate_2", "TFlite_converter", "keras/float32", "tflite/int8"):
        assert word in outcome.out
    assert [path.name for path in tmp_path.iterdir()] == [tiny_config.name]


def test_an_evaluation_that_the_data_cannot_serve_is_refused_before_the_first_epoch(reidfw, tiny_config) -> None:
    outcome = reidfw("run", tiny_config, "+evaluation.protocol=veri")
    assert outcome.code == 2, outcome.text
    assert "veri needs the camera of each image" in outcome.text
    assert "Epoch" not in outcome.text
    outcome = reidfw(
        "run",
        tiny_config,
        "--dry-run",
        "+evaluation.rerank=True",
        "~dataset.test_query_path",
        "~dataset.test_gallery_path",
    )
    assert outcome.code == 2, outcome.text
    assert "evaluation.rerank needs query images" in outcome.text


def test_a_target_for_quantized_models_leaves_the_float_model_to_the_one_that_compares(reidfw, tiny_config) -> None:
    outcome = reidfw("run", tiny_config, "--dry-run", "+evaluation.target=portable_c")
    assert outcome.code == 0, outcome.text
    rows = [line.split() for line in outcome.out.splitlines()]
    components = {row[1]: row[2] for row in rows if len(row) > 2}
    assert components["evaluate"] == "host"
    assert components["evaluate_2"] == "portable_c"
    told = " ".join(outcome.out.split())
    assert "evaluation.target 'portable_c' does not take keras/float32 models; this one is scored on 'host'" in told
    outcome = reidfw("run", tiny_config, "--dry-run", "+evaluation.target=portable_c", "+quantization.compare_on=null")
    assert outcome.code == 2, outcome.text
    assert "'portable_c' does not take a keras/float32 model" in outcome.text
    outcome = reidfw("run", tiny_config, "--dry-run", "operation_mode=training", "+evaluation.target=portable_c")
    assert outcome.code == 2, outcome.text
