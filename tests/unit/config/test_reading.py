"""Whole configurations: the user's document, its errors, and the components that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from reidfw_core.config import OPERATION_MODES, Configuration, bind_components, read_config
from reidfw_core.config.modes import GROUPS, SECTIONS, is_required
from reidfw_core.errors import ConfigError, PluginBroken

Read = Callable[..., Configuration]
Write = Callable[[str], Path]


def told(error: pytest.ExceptionInfo[ConfigError]) -> dict[str, str]:
    return {problem.where: str(problem) for problem in error.value.problems}


def without(text: str, *sections: str) -> str:
    """The document without some of its sections."""
    blocks = [block for block in text.split("\n\n") if block.split(":")[0] not in sections]
    return "\n\n".join(blocks) + "\n"


# --- the document ---


def test_the_document_loads_as_it_stands(read: Read, document: str) -> None:
    configuration = read(document)
    config = configuration.config
    assert config.operation_mode == "chain_tqeb"
    assert config.general.project_name == "my_project"
    assert config.general.gpu_memory_limit == 16
    assert config.model.input_shape == (256, 128, 3)
    assert config.model.pretrained is True
    assert config.dataset.validation_path is None
    assert config.preprocessing is not None
    assert config.preprocessing.rescaling is not None
    assert config.preprocessing.rescaling.scale == 1 / 127.5
    assert config.training is not None
    assert config.training.frozen_layers == (slice(0, -1),)
    assert config.training.optimizer.name == "Adam"
    assert config.training.optimizer.arguments == {"learning_rate": 0.001}
    assert config.training.callbacks["EarlyStopping"]["restore_best_weights"] is True
    assert config.quantization is not None
    assert config.quantization.granularity == "per_tensor"
    assert config.evaluation is not None
    assert config.evaluation.reid_distance_metric == "cosine"
    assert (config.prediction, config.deployment) == (None, None)
    warnings = "\n".join(configuration.warnings)
    assert "dataset.validation_path is the placeholder <validation-set-root-directory>" in warnings
    assert "training.frozen_layers (0, -1) is read as (0:-1)" in warnings
    assert len(configuration.warnings) == 3


def test_the_components_of_the_document(read: Read, document: str) -> None:
    components = read(document).components
    assert components.reader is not None
    assert components.reader.name == "identity_prefix"
    assert [bound.name for bound in components.augmentations] == [
        "random_flip",
        "random_translation",
        "random_rotation",
        "random_zoom",
    ]
    assert components.augmentations[2].component.params.factor == 0.125
    assert components.backbone is not None
    assert components.backbone.name == "mobilenetv1_a025"
    assert [loss.component.name for loss in components.losses] == ["identity_cross_entropy", "triplet_semi_hard"]
    assert components.losses[1].component.component.params.margin == 0.3
    assert [loss.weight for loss in components.losses] == [1.0, 1.0]
    assert components.quantizer is not None
    assert components.quantizer.component.params.granularity == "per_tensor"
    assert components.quantizer.component.params.onnx_extra_options == {"CalibMovingAverage": True}
    assert components.benchmark_target is not None
    assert components.benchmark_target.name == "STM32H747I-DISCO"
    assert components.evaluation_target is not None
    assert components.evaluation_target.name == "host"
    assert components.prediction_target is None
    assert [bound.name for bound in components.listeners] == ["mlflow"]
    assert components.listeners[0].component.params.uri == "./tf/src/experiments_outputs/mlruns"
    assert components.comparison_target.name == "host"
    assert len(list(components.all())) == 13


DEPLOYMENT = """\
operation_mode: deploy
model:
   model_path: model.tflite     # Path to the model file to deploy

dataset:

tools:
  stedgeai:
    optimization: balanced
    on_cloud: True
    path_to_stedgeai: C:/ST/STEdgeAI/<x.y>/Utilities/windows/stedgeai.exe
  path_to_cubeIDE: C:/ST/STM32CubeIDE_<*.*.*>/STM32CubeIDE/stm32cubeide.exe

deployment:
  c_project_path: ../application_code/re_identification/STM32N6/
  IDE: GCC
  verbosity: 1
  hardware_setup:
    serie: STM32N6
    board: STM32N6570-DK

preprocessing:
  resizing: {aspect_ratio: crop}
  color_mode: rgb

mlflow:
hydra:
"""


def test_the_deployment_block_of_the_document(read: Read) -> None:
    configuration = read(DEPLOYMENT)
    assert configuration.config.operation_mode == "deployment"
    assert configuration.config.deployment is not None
    assert configuration.config.deployment.hardware_setup.board == "STM32N6570-DK"
    assert configuration.config.app is not None
    assert configuration.config.app.max_object_detect == 20
    assert configuration.config.preprocessing is not None
    assert configuration.config.preprocessing.rescaling is None
    assert configuration.components.deployment_target is not None
    assert configuration.components.deployment_target.component.params.optimization == "balanced"
    assert configuration.components.reader is None


@pytest.mark.parametrize("mode", OPERATION_MODES)
def test_every_mode_reads_its_own_sections_only(read: Read, document: str, mode: str) -> None:
    text = (
        document.replace("chain_tqeb", mode)
        + DEPLOYMENT.split("\n\n")[3]
        + ("\nprediction:\n  target: host\napp: {max_object_detect: 5}\n")
    )
    text = text.replace(
        "   test_query_path", "   prediction_query_path: q\n   prediction_gallery_path: g\n   test_query_path"
    )
    if "training" not in GROUPS[mode]:  # type: ignore[index]
        text = text.replace("model_name: mobilenetv1_a025\n", "model_path: best_model.keras\n")
    config = read(text).config
    groups = GROUPS[mode]  # type: ignore[index]
    for name, use in SECTIONS.items():
        present = getattr(config, name) is not None
        expected = name in ("model", "dataset", "preprocessing") or (
            bool(use.groups & groups) and name != "custom_data_augmentation"
        )
        assert present is expected, name


@pytest.mark.parametrize("mode", OPERATION_MODES)
def test_every_missing_section_is_told(read: Read, mode: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(f"operation_mode: {mode}\n")
    groups = GROUPS[mode]  # type: ignore[index]
    required = {name for name in SECTIONS if is_required(name, groups)}
    assert required == set(told(error))
    assert "model" in required
    assert all(mode in text and "missing" in text for text in told(error).values())


# --- traits of files that are in use ---


EVALUATION = """\
operation_mode: evaluation
model:
   model_path: best_model.keras
dataset:
   class_names:
   test_query_path: query
   test_gallery_path: gallery
preprocessing:
   rescaling: { scale: 1/127.5, offset: -1 }
   resizing: { aspect_ratio: fit, interpolation: nearest }
   color_mode: rgb
mlflow:
   uri: ./mlruns
hydra:
   run:
      dir: ./out
"""


@pytest.mark.parametrize(
    "change",
    [
        "",
        "general:\n",
        "evaluation:\n",
        "evaluation:\n   profile: profile_O3\n   target: host\n   input_type: uint8\n   gen_npy_input: True\n",
        "benchmarking:\n   board: STM32N6570-DKq\n",
        "prediction:\n   target: <no-such-target>\n",
        "deployment:\n   c_project_path: ../<*.*.*>/x\n   verbosity: often\n   hardware_setup:\n      board: <board>\n",
        "training:\n   batch_size: <any>\n   epochs: -1\n   optimizer:\n",
        "quantization:\n   quantizer: <a or b>\n   optimize: perhaps\n",
        "tools:\n   stedgeai:\n      path_to_stedgeai: <path>\n",
        "app:\n",
        "data_augmentation:\n   no_such_function:\n",
        "quantization_parameters:\n   x: 1\nmixed_quantization_algo:\nquantization_extra_options: {}\n",
    ],
)
def test_what_the_mode_does_not_read_may_hold_anything(read: Read, change: str) -> None:
    configuration = read(EVALUATION + change)
    assert configuration.config.operation_mode == "evaluation"
    assert configuration.components.evaluation_target is not None


def test_a_misspelt_name_in_a_section_that_is_not_read_is_a_warning(read: Read) -> None:
    configuration = read(EVALUATION + "training:\n   epochz: 3\n   triplet_loss:\n      anything: 1\n")
    (warning,) = configuration.warnings
    assert "user_config.yaml:18: training.epochz" in warning
    assert "did you mean 'epochs'?" in warning


def test_sections_that_are_accepted_and_ignored_are_warned_of(read: Read) -> None:
    configuration = read(EVALUATION + "mixed_quantization_algo: x\n")
    assert "mixed_quantization_algo is accepted and has no effect" in configuration.warnings[0]


def test_missing_mlflow_and_hydra_sections_are_warned_of(read: Read) -> None:
    text = EVALUATION.partition("mlflow:")[0]
    configuration = read(text)
    assert len(configuration.warnings) == 2
    assert configuration.components.listeners == ()
    assert configuration.config.hydra.run.dir.startswith("./experiments_outputs/20")


def test_a_tracker_that_is_not_installed_is_a_warning(write: Write, make_catalog: Callable[..., Any]) -> None:
    configuration = read_config(write(EVALUATION), (), make_catalog(listeners={}), check_paths=False)
    assert configuration.components.listeners == ()
    assert "pip install reidfw-tracker-mlflow" in configuration.warnings[0]


# --- values that keep their text ---


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("007", "007"),
        ("2024", "2024"),
        ('"2024"', "2024"),
        ("1e5", "1e5"),
        ("1/2", "1/2"),
        ("yes", "yes"),
        ("True", "True"),
        ("(1, 2)", "(1, 2)"),
        ("12:30", "12:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2024-01-02", "2024-01-02"),
        ("", "<unnamed>"),
        ("None", "<unnamed>"),
        ("~", "<unnamed>"),
        ("${oc.env:REID_NAME}", "12"),
    ],
)
def test_a_name_keeps_its_text(read: Read, monkeypatch: pytest.MonkeyPatch, written: str, name: str) -> None:
    monkeypatch.setenv("REID_NAME", "12")
    configuration = read(f"{EVALUATION}general:\n   project_name: {written}\n")
    assert configuration.config.general.project_name == name


def test_a_name_on_the_command_line_keeps_its_text(read: Read) -> None:
    configuration = read(
        EVALUATION, "general.project_name=007", "dataset.dataset_name=1_0", "dataset.test_query_path=2024"
    )
    assert configuration.config.general.project_name == "007"
    assert configuration.config.dataset.dataset_name == "1_0"
    assert configuration.config.dataset.test_query_path == Path("2024")


def test_a_component_s_text_parameter_keeps_its_text(read: Read) -> None:
    text = EVALUATION.replace("class_names:", "reader: drawn\n   style: 007\n   identities: 4*2")
    reader = read(text).components.reader
    assert reader is not None
    assert reader.component.params.style == "007"
    assert reader.component.params.identities == 8


# --- sections ---


def problem_of(read: Read, text: str, *overrides: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        read(text, *overrides)
    return told(error)


@pytest.mark.parametrize(
    ("override", "where", "message"),
    [
        ("general.global_seed=-1", "general.global_seed", "greater than or equal to 0"),
        ("general.global_seed=True", "general.global_seed", "not True or False"),
        ("general.global_seed=1.5", "general.global_seed", "1.5"),
        ("general.gpu_memory_limit=0", "general.gpu_memory_limit", "greater than 0"),
        ("general.num_threads_tflite=0", "general.num_threads_tflite", "greater than or equal to 1"),
        ("general.saved_models_dir=../up", "general.saved_models_dir", "inside the run directory"),
        ("general.logs_dir=/var/log", "general.logs_dir", "inside the run directory"),
        ("general.deterministic_ops=perhaps", "general.deterministic_ops", "perhaps"),
        ("general=text", "general", "attributes are expected below it"),
        ("dataset.validation_split=0", "dataset.validation_split", "greater than 0"),
        ("dataset.validation_split=1", "dataset.validation_split", "less than 1"),
        ("dataset.quantization_split=1.01", "dataset.quantization_split", "less than or equal to 1"),
        ("dataset.validation_split_by=camera", "dataset.validation_split_by", "image, identity"),
        ("dataset.seed=x", "dataset.seed", "valid integer"),
        ("preprocessing.rescaling.scale=0", "preprocessing.rescaling.scale", "all images alike"),
        ("preprocessing.rescaling.scale=1e999", "preprocessing.rescaling.scale", "finite"),
        ("~preprocessing.rescaling", "preprocessing.rescaling", "is required in operation_mode chain_tqeb"),
        (
            "~preprocessing.resizing.interpolation",
            "preprocessing.resizing.interpolation",
            "required with aspect_ratio: fit",
        ),
        (
            "preprocessing.resizing.interpolation=nearst",
            "preprocessing.resizing.interpolation",
            "did you mean 'nearest'",
        ),
        ("preprocessing.color_mode=bgr", "preprocessing.color_mode", "grayscale, rgb, rgba"),
        ("model.model_path=a.keras", "model.model_name", "exclude each other"),
        ("~model.model_name", "model.model_name", "one of model_path and model_name is required"),
        ("model.input_shape=(256, 128)", "model.input_shape", "(height, width, channels)"),
        ("model.input_shape=(256, 0, 3)", "model.input_shape[1]", "greater than or equal to 1"),
        ("~model.input_shape", "model.input_shape", "required with model_name"),
        ("model.framework=torch", "model.framework", "tf"),
        ("training.batch_size=66", "training.batch_size", "64 or 68 would do"),
        ("training.batch_size=2", "training.batch_size", "4 or 4 would do"),
        ("~training.batch_size", "training.batch_size", "is required and missing"),
        ("training.batch_size=null", "training.batch_size", "is required and needs a value"),
        ("training.epochs=0", "training.epochs", "greater than or equal to 1"),
        ("training.dropout=1", "training.dropout", "less than 1"),
        ("training.frozen_layers=(a:b)", "training.frozen_layers", "neither a layer's number"),
        ("training.optimizer.SGD.momentum=0.9", "training.optimizer", "got Adam, SGD"),
        ("training.optimizer=3", "training.optimizer", "name of one Keras optimizer"),
        ("training.callbacks.TensorBoard.log_dir=x", "training.callbacks.TensorBoard", "built in"),
        ("training.callbacks.X.schedule=lambda e: os", "training.callbacks.X.schedule", "knows no name 'os'"),
        ("training.callbacks.X=3", "training.callbacks.X", "dictionary"),
        ("training.triplet_loss.strategy=semihard", "training.triplet_loss.strategy", "did you mean 'semi_hard'"),
        ("training.triplet_loss.margin=1.5", "training.triplet_loss.margin", "less than or equal to 1"),
        ("training.triplet_loss.marign=0.2", "training.triplet_loss.marign", "did you mean 'margin'"),
        ("training.losses=[{name: center}]", "training.losses", "excludes triplet_loss"),
        ("training.resume_training_from=True", "training.resume_training_from", "model.model_path must be"),
        ("quantization.quantizer=tflite", "quantization.quantizer", "onnx_quantizer, TFlite_converter"),
        ("~quantization.quantizer", "quantization.quantizer", "is required and missing"),
        ("quantization.quantization_type=QTA", "quantization.quantization_type", "did you mean 'QAT'"),
        ("quantization.qat.epoch=3", "quantization.qat.epoch", "did you mean 'epochs'"),
        ("quantization.qat.learning_rate=0", "quantization.qat.learning_rate", "greater than 0"),
        ("quantization.granularity=per_chanel", "quantization.granularity", "did you mean 'per_channel'"),
        ("quantization.optimise=True", "quantization.optimise", "did you mean 'optimize'"),
        ("benchmarking.board=STM32H747I-DISC", "benchmarking.board", "did you mean 'STM32H747I-DISCO'"),
        ("tools.stedgeai.optimization=speed", "tools.stedgeai.optimization", "balanced, time, ram"),
        ("tools.stedgai.on_cloud=True", "tools.stedgai", "did you mean 'stedgeai'"),
        ("evaluation.target=boards", "evaluation.target", "host"),
        ("evaluation.reid_distance_metric=manhattan", "evaluation.reid_distance_metric", "cosine, euclidean"),
        ("data_augmentation.random_flp=null", "data_augmentation.random_flp", "did you mean 'random_flip'"),
        ("data_augmentation.random_flip.mode=diagonal", "data_augmentation.random_flip.mode", "horizontal, vertical"),
        ("data_augmentation.random_flip.mod=x", "data_augmentation.random_flip.mod", "did you mean 'mode'"),
        (
            "custom_data_augmentation.function_name=random_flip",
            "custom_data_augmentation",
            "excludes data_augmentation",
        ),
        ("mlflow.ur=x", "mlflow.ur", "did you mean 'uri'"),
        ("dataset.reeder=x", "dataset.reeder", "did you mean 'reader'"),
        ("modle.x=3", "modle", "did you mean 'model'"),
        ("listeners=[{name: notifier}]", "listeners[0].address", "is required and missing"),
        ("listeners=[{name: notifir, address: x}]", "listeners[0].name", "did you mean 'notifier'"),
        ("listeners=[{address: x}]", "listeners[0].name", "is required and missing"),
        ("listeners={name: x}", "listeners", "a list is expected"),
        ("operation_mode=evaluate", "operation_mode", "did you mean 'evaluation'"),
        ("operation_mode=null", "operation_mode", "needs a value"),
    ],
)
def test_a_wrong_value_is_told_where_it_stands(
    read: Read, document: str, override: str, where: str, message: str
) -> None:
    problems = problem_of(read, document, override)
    assert list(problems) == [where]
    assert message in problems[where]


@pytest.mark.parametrize(
    ("override", "section", "attribute", "value"),
    [
        ("general.global_seed=0", "general", "global_seed", 0),
        ("model.input_shape=[96,96,1]", "model", "input_shape", (96, 96, 1)),
        ("model.pretrained=path/to.weights.h5", "model", "pretrained", Path("path/to.weights.h5")),
        (
            "model.pretrained=https://example.org/x.weights.h5",
            "model",
            "pretrained",
            "https://example.org/x.weights.h5",
        ),
        ("model.pretrained=imagenet", "model", "pretrained", True),
        ("model.pretrained=null", "model", "pretrained", False),
        ("model.pretrained_weights=a/best_model.keras", "model", "pretrained", Path("a/best_model.keras")),
        ("training.dropout=null", "training", "dropout", None),
        ("training.frozen_layers=None", "training", "frozen_layers", ()),
        ("training.frozen_layers=(7:13, 16)", "training", "frozen_layers", (slice(7, 13), 16)),
        ("training.frozen_layers=4:8", "training", "frozen_layers", (slice(4, 8),)),
        ("training.frozen_layers=2", "training", "frozen_layers", (2,)),
        ("training.frozen_layers=[1,-1]", "training", "frozen_layers", (1, -1)),
        ("training.resume_training_from=False", "training", "resume_training_from", None),
        ("training.dryrun=3", "training", "dryrun", 3),
        ("preprocessing.color_mode=RGB", "preprocessing", "color_mode", "rgb"),
        ("quantization.quantization_type=ptq", "quantization", "quantization_type", "PTQ"),
        ("operation_mode=Chain_TQEB", None, "operation_mode", "chain_tqeb"),
    ],
)
def test_values_are_understood(
    read: Read, document: str, override: str, section: str | None, attribute: str, value: object
) -> None:
    config: Any = read(document, override).config
    holder = getattr(config, section) if section else config
    assert getattr(holder, attribute) == value
    assert type(getattr(holder, attribute)) is type(value)


def test_layers_in_the_file_are_read_as_they_are_written(read: Read, document: str) -> None:
    text = document.replace("frozen_layers: (0, -1)", "frozen_layers: 4:8")  # a number to base 60, says YAML
    training = read(text).config.training
    assert training is not None
    assert training.frozen_layers == (slice(4, 8),)


@pytest.mark.parametrize("written", ["optimizer: Adam\n", "optimizer:\n      Adam:\n"])
def test_an_optimizer_may_have_no_arguments(read: Read, document: str, written: str) -> None:
    before, _, rest = document.partition("   optimizer:\n")
    text = f"{before}   {written}   callbacks:{rest.partition('   callbacks:')[2]}"
    training = read(text).config.training
    assert training is not None
    assert (training.optimizer.name, training.optimizer.arguments) == ("Adam", {})


def test_the_best_epoch_is_told_by_the_map_where_identities_are_held_out(read: Read, document: str) -> None:
    by_image = read(document).config.training
    by_identity = read(document, "dataset.validation_split_by=identity").config.training
    chosen = read(
        document, "dataset.validation_split_by=identity", "training.checkpoint_monitor=val_loss"
    ).config.training
    assert by_image is not None
    assert by_identity is not None
    assert chosen is not None
    assert (by_image.checkpoint_monitor, by_identity.checkpoint_monitor) == ("val_loss", "val_mAP")
    assert chosen.checkpoint_monitor == "val_loss"


@pytest.mark.parametrize("written", ["", " {}", " null"])
def test_an_empty_triplet_loss_has_its_defaults(read: Read, document: str, written: str) -> None:
    before, _, rest = document.partition("   triplet_loss:\n")
    text = f"{before}   triplet_loss:{written}\n\nquantization:{rest.partition('quantization:')[2]}"
    losses = read(text).components.losses
    assert [loss.component.name for loss in losses] == ["identity_cross_entropy", "triplet_hard"]


def test_without_a_triplet_loss_there_is_the_cross_entropy(read: Read, document: str) -> None:
    losses = read(document, "~training.triplet_loss").components.losses
    assert [loss.component.name for loss in losses] == ["identity_cross_entropy"]


def test_losses_are_a_list_with_weights(read: Read, document: str) -> None:
    configuration = read(
        document,
        "~training.triplet_loss",
        "training.losses=[{name: identity_cross_entropy, label_smoothing: 0, weight: 1/2},{name: center}]",
    )
    first, second = configuration.components.losses
    assert (first.weight, first.component.component.params.label_smoothing) == (0.5, 0)
    assert (second.component.name, second.weight) == ("center", 1.0)


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("quantization.quantizer=tflite_CONVERTER", "TFlite_converter"),
        ("quantization.quantizer=Onnx_quantizer", "onnx_quantizer"),
        ("quantization.quantizer=onnx-quantizer", "onnx_quantizer"),
        ("quantization.quantizer=acme/TFlite_converter", "TFlite_converter"),
    ],
)
def test_component_names_ignore_case(read: Read, document: str, selector: str, name: str) -> None:
    quantizer = read(document, selector).components.quantizer
    assert quantizer is not None
    assert quantizer.name == name


def test_a_third_party_backbone_gets_its_parameters(read: Read, document: str) -> None:
    backbone = read(document, "model.model_name=acme.tiny_conv", "model.width=8*4").components.backbone
    assert backbone is not None
    assert (backbone.distribution, backbone.version, backbone.component.params.width) == ("acme", "1.2", 32)
    problems = problem_of(read, document, "model.model_name=acme.tiny_conv", "model.width=2", "model.widht=3")
    assert "greater than or equal to 4" in problems["model.width"]
    assert "did you mean 'width'" in problems["model.widht"]
    assert "input_shape" in problems["model.widht"]


def test_a_strategy_may_be_any_installed_loss(read: Read, document: str) -> None:
    losses = read(
        document,
        "training.triplet_loss.strategy=center",
        "~training.triplet_loss.margin",
        "~training.triplet_loss.distance_metric",
    ).components.losses
    assert losses[1].component.name == "center"


def test_a_target_takes_what_it_declares_from_the_tools(read: Read, document: str) -> None:
    target = read(document, "tools.stedgeai.optimization=time", "benchmarking.serial=0042").components.benchmark_target
    assert target is not None
    params = target.component.params
    assert (params.optimization, params.serial) == ("time", "0042")
    assert params.path_to_stedgeai == Path("C:/ST/STEdgeAI/<x.y>/Utilities/windows/stedgeai.exe")


def test_only_what_the_mode_needs_is_loaded(write: Write, catalog: Any) -> None:
    read_config(write(EVALUATION + "quantization: {quantizer: TFlite_converter}\n"), (), catalog, check_paths=False)
    assert sorted(catalog.loaded) == ["host", "identity_prefix", "mlflow"]


def test_a_custom_augmentation_is_an_installed_component(read: Read, document: str) -> None:
    text = without(document, "data_augmentation")
    custom = "custom_data_augmentation:\n  function_name: random_flip\n  config: {mode: vertical}\n"
    (augmentation,) = read(text + custom).components.augmentations
    assert augmentation.component.params.mode == "vertical"
    assert "mode" in problem_of(read, text + custom.replace("mode:", "mod:"))["custom_data_augmentation.config.mod"]
    problems = problem_of(read, text + custom.replace("random_flip", "my_module:progressive"))
    assert "there is no module 'my_module'" in problems["custom_data_augmentation.function_name"]
    assert len(problems) == 1


def test_a_custom_augmentation_is_a_function_of_a_file(read: Read, document: str, tmp_path) -> None:
    text = without(document, "data_augmentation")
    file = tmp_path / "mine.py"
    file.write_text("def darker(images, config, pixels_range, batch_info):\n    return images * config['by']\n")
    custom = f"custom_data_augmentation:\n  function_name: {file}:darker\n  config: {{by: 0.5}}\n"
    (augmentation,) = read(text + custom).components.augmentations
    assert augmentation.component.params.config == {"by": 0.5}
    problems = problem_of(read, text + custom.replace(":darker", ":darkr"))
    assert "did you mean 'darker'" in problems["custom_data_augmentation.function_name"]
    file.write_text("import nonsense_that_is_nowhere\n")
    other = custom.replace("mine.py", "broken.py")
    file.rename(tmp_path / "broken.py")
    assert "cannot be imported" in problem_of(read, text + other)["custom_data_augmentation.function_name"]


# --- many problems at once ---


def test_all_problems_are_told_at_once_in_the_order_of_their_lines(read: Read, document: str) -> None:
    text = (
        document.replace("global_seed: 123", "global_sed: 123")
        .replace("validation_split: 0.2 ", "validation_split: 2 ")
        .replace("1/127.5", "1/127.5x")
        .replace("mode: horizontal_and_vertical", "mode: diagonal")
        .replace("mobilenetv1_a025", "mobilnetv1_a025")
        .replace("batch_size: 64", "batch_size: 66")
        .replace("quantizer: TFlite_converter", "quantizer: TFlite_convert")
        .replace("board: STM32H747I-DISCO", "board: STM32H747I")
    )
    with pytest.raises(ConfigError) as error:
        read(text, "evaluation.reid_distance_metric=x")
    lines = [problem.line for problem in error.value.problems]
    assert [problem.where for problem in error.value.problems] == [
        "general.global_sed",
        "dataset.validation_split",
        "preprocessing.rescaling.scale",
        "data_augmentation.random_flip.mode",
        "model.model_name",
        "training.batch_size",
        "quantization.quantizer",
        "benchmarking.board",
        "evaluation.reid_distance_metric",
    ]
    assert lines[-1] is None
    wrong = (
        "global_sed",
        "split: 2 ",
        "1/127.5x",
        "diagonal",
        "mobilnet",
        "batch_size: 66",
        "TFlite_convert ",
        "STM32H747I ",
    )
    for line, piece in zip(lines, wrong, strict=False):
        assert line is not None
        assert piece in text.splitlines()[line - 1]
    assert all(
        problem.file == "command line" or "user_config.yaml" in str(problem.file) for problem in error.value.problems
    )
    assert error.value.exit_code == 2


def test_unset_variables_and_spellings_join_the_other_problems(read: Read, document: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    text = document.replace("batch_size: 64", "batch_size: ${NO_SUCH}").replace(
        "dropout: 0.3", "dropout: 0.3\n   dropout_rate: 1/2"
    )
    problems = problem_of(read, text, "training.epochs=0")
    assert set(problems) == {"training.batch_size", "training.dropout_rate", "training.epochs"}
    assert "NO_SUCH is not set" in problems["training.batch_size"]


@pytest.mark.parametrize("mode", ["operation_mode: chain", "operation_mode:", "# none"])
def test_without_a_mode_what_is_read_in_every_mode_is_checked(read: Read, document: str, mode: str) -> None:
    text = document.replace("operation_mode: chain_tqeb", mode).replace(
        "validation_split: 0.2 ", "validation_split: 2 "
    )
    problems = problem_of(read, text, "general.global_sed=1", "modle.x=1", "training.epochs=0")
    assert set(problems) == {"operation_mode", "dataset.validation_split", "general.global_sed", "modle"}


# --- plugins that fail ---


def test_a_broken_plugin_keeps_its_exit_code(write: Write, document: str, make_catalog: Callable[..., Any]) -> None:
    catalog = make_catalog(backbones={"mobilenetv1_a025": "ImportError: no keras"})
    with pytest.raises(PluginBroken) as error:
        read_config(write(document), (), catalog, check_paths=False)
    assert "model.model_name" in str(error.value)
    assert "no keras" in str(error.value)
    assert error.value.exit_code == 3
    assert error.value.hint == "reinstall it"


def test_a_broken_plugin_beside_other_problems(write: Write, document: str, make_catalog: Callable[..., Any]) -> None:
    catalog = make_catalog(backbones={"mobilenetv1_a025": "ImportError: no keras"})
    with pytest.raises(ConfigError) as error:
        read_config(write(document), ["training.epochs=0"], catalog, check_paths=False)
    assert set(told(error)) == {"model.model_name", "training.epochs"}
    assert error.value.exit_code == 2
    catalog = make_catalog(backbones={"mobilenetv1_a025": "a"}, quantizers={"TFlite_converter": "b"})
    with pytest.raises(ConfigError) as error:
        read_config(write(document), (), catalog, check_paths=False)
    assert error.value.exit_code == 3


def test_a_kind_that_is_not_installed_at_all(write: Write, document: str, make_catalog: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as error:
        read_config(write(document), (), make_catalog(backbones={}, losses={}), check_paths=False)
    assert "no backbones are installed at all" in told(error)["model.model_name"]
    assert error.value.hint is not None
    assert "pip install reidfw-backbones" in error.value.hint
    assert "pip install reidfw-losses" in error.value.hint


def test_components_can_be_bound_on_their_own(read: Read, document: str, catalog: Any, make_catalog: Any) -> None:
    configuration = read(document)
    components = bind_components(configuration.config, configuration.loaded, catalog)
    assert [bound.name for bound in components.all()] == [bound.name for bound in configuration.components.all()]
    with pytest.raises(ConfigError):
        bind_components(configuration.config, configuration.loaded, make_catalog(quantizers={}))


# --- paths ---


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("train", "query", "gallery", "calibration"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "best_model.keras").write_bytes(b"x")
    return tmp_path


PATHS = EVALUATION.replace("test_query_path: query", "test_query_path: ./data/query").replace(
    "test_gallery_path: gallery", "test_gallery_path: data/gallery"
)


def test_paths_are_relative_to_the_current_folder(read: Read, data: Path) -> None:
    assert read(PATHS, check_paths=True).config.dataset.test_query_path == Path("data/query")


def test_a_missing_path_is_told_with_what_was_tried(read: Read, data: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(PATHS, "model.model_path=best_modl.keras", "dataset.test_query_path=dta/query", check_paths=True)
    problems = told(error)
    assert f"there is no file {data / 'best_modl.keras'}" in problems["model.model_path"]
    assert "did you mean 'best_model.keras'" in problems["model.model_path"]
    assert (
        f"there is no folder {data / 'dta' / 'query'}; {data} is the last folder" in problems["dataset.test_query_path"]
    )


def test_a_file_is_no_folder(read: Read, data: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(PATHS, "model.model_path=data", "dataset.test_query_path=best_model.keras", check_paths=True)
    assert f"is no file: {data / 'data'}" in told(error)["model.model_path"]
    assert f"is no folder: {data / 'best_model.keras'}" in told(error)["dataset.test_query_path"]


@pytest.mark.parametrize(
    "override", ["dataset.training_path=nowhere", "dataset.quantization_path=nowhere", "tools.path_to_cubeIDE=x"]
)
def test_paths_that_the_mode_does_not_read_are_not_looked_for(read: Read, data: Path, override: str) -> None:
    read(PATHS, override, check_paths=True)


def test_an_address_is_not_looked_for(read: Read, data: Path) -> None:
    configuration = read(PATHS, "model.model_path=https://example.org/a.keras", check_paths=True)
    assert configuration.config.model.model_path == "https://example.org/a.keras"
    problems = problem_of(read, PATHS, "model.model_path=ftp://example.org/a.keras")
    assert "only http:// and https://" in problems["model.model_path"]


def test_a_reader_without_folders_is_not_asked_for_them(read: Read, data: Path) -> None:
    text = PATHS.replace(
        "   class_names:\n   test_query_path: ./data/query\n   test_gallery_path: data/gallery\n", "   reader: drawn\n"
    )
    assert read(text, check_paths=True).components.reader is not None


@pytest.mark.parametrize(
    ("mode", "overrides", "where"),
    [
        ("evaluation", ["~dataset.test_query_path", "~dataset.test_gallery_path"], "dataset"),
        ("evaluation", ["~dataset.test_query_path"], "dataset.test_query_path"),
        ("evaluation", ["~dataset.test_gallery_path"], "dataset.test_gallery_path"),
        (
            "evaluation",
            ["~model.model_path", "model.model_name=acme.tiny_conv", "model.input_shape=[8,8,3]"],
            "model.model_path",
        ),
        ("evaluation", ["model.model_path='<path-to-a-model>'"], "model.model_name"),
        ("evaluation", ["+model.modl_name=x"], "model.modl_name"),
        ("training", ["training={batch_size: 8, epochs: 1, optimizer: Adam}"], "dataset.training_path"),
        ("prediction", ["dataset.prediction_query_path=data/query"], "dataset.prediction_gallery_path"),
        (
            "benchmarking",
            ["benchmarking.board=STM32H747I-DISCO", "tools.stedgeai.path_to_stedgeai=no/such"],
            "tools.stedgeai.path_to_stedgeai",
        ),
    ],
)
def test_what_a_mode_cannot_do_without(read: Read, data: Path, mode: str, overrides: list[str], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(PATHS, f"operation_mode={mode}", *overrides, check_paths=True)
    assert list(told(error)) == [where]


@pytest.mark.parametrize(
    ("mode", "override", "where"),
    [
        ("evaluation", "model.model_path='<path-to-a-model>'", "model.model_name"),
        ("training", "training={batch_size: '<size>', epochs: 1, optimizer: Adam}", "dataset.training_path"),
        ("prediction", "dataset.prediction_query_path=q", "dataset.prediction_gallery_path"),
    ],
)
def test_a_placeholder_is_named_where_a_value_is_missing(read: Read, mode: str, override: str, where: str) -> None:
    text = PATHS.replace("   class_names:", "   training_path: <training-set>\n   prediction_gallery_path: <gallery>")
    assert "is still the placeholder <" in problem_of(read, text, f"operation_mode={mode}", override)[where]


def test_attributes_of_a_reader_that_is_not_used_are_warned_of(read: Read) -> None:
    configuration = read(
        PATHS,
        "operation_mode=benchmarking",
        "dataset.style=x",
        "benchmarking.board=STM32H747I-DISCO",
        "tools.stedgeai.on_cloud=True",
    )
    assert "dataset.style has no effect in operation_mode benchmarking" in configuration.warnings[0]


def test_benchmarking_needs_no_preprocessing_and_no_data(read: Read, data: Path) -> None:
    configuration = read(
        PATHS,
        "operation_mode=benchmarking",
        "~preprocessing",
        "~dataset",
        "benchmarking.board=STM32H747I-DISCO",
        "tools.stedgeai.on_cloud=True",
        check_paths=True,
    )
    assert configuration.config.preprocessing is None
    assert configuration.components.reader is None


# --- the resolved configuration ---


def test_the_resolved_configuration_reads_as_the_same(read: Read, document: str) -> None:
    from reidfw_core.run.directory import jsonable

    first = read(document, "training.callbacks.X.schedule=lambda epoch, lr: lr / 2", "general.project_name=007")
    again = read(yaml.safe_dump(jsonable(first.resolved), sort_keys=False, allow_unicode=True))
    assert jsonable(again.resolved) == jsonable(first.resolved)
    same = {"data_augmentation": None}  # its functions have their defaults written out now
    assert again.config.model_copy(update=same) == first.config.model_copy(update=same)
    assert [bound.component.params for bound in again.components.all()] == [
        bound.component.params for bound in first.components.all()
    ]
    assert not [warning for warning in again.warnings if "hydra" in warning or "outdated" in warning]


def test_the_resolved_configuration_holds_the_defaults(read: Read, document: str) -> None:
    resolved = read(document).resolved
    assert resolved["training"]["instances_per_identity"] == 4
    assert resolved["training"]["optimizer"] == {"Adam": {"learning_rate": 0.001}}
    assert resolved["evaluation"]["target"] == "host"
    assert resolved["dataset"]["reader"] == "identity_prefix"
    assert resolved["quantization"]["onnx_extra_options"] == {"CalibMovingAverage": True}
    assert "prediction" not in resolved
    assert "optimization" not in resolved["benchmarking"], "tools.stedgeai holds it"
    empty = read(document, "data_augmentation.random_zoom=null").resolved
    assert empty["data_augmentation"]["random_zoom"]["fill_mode"] == "reflect"
    assert read(document, "quantization.granularity=null").resolved["quantization"]["granularity"] == "per_channel"


def test_the_configuration_cannot_be_changed(read: Read, document: str) -> None:
    config: Any = read(document).config
    with pytest.raises(ValueError, match="frozen"):
        config.general.global_seed = 3
