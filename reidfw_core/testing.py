"""Contract tests for plugins, with one import.

A plugin's test suite holds these lines::

    from reidfw_core.testing import contract_suite

    TestContract = contract_suite("acme-reidfw")

and thereby checks each component that the installed distribution registers: that its module imports lightly, that its
parameters are described and have valid defaults, that its hooks bind, and on tiny data that it does what the hook
specs of its kind promise. Checks that need TensorFlow are skipped where it is not installed; so are those for which a
component says that a tool, a board or a service is missing.

This module needs pytest. It is the only one of reidfw that does.
"""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from packaging.utils import canonicalize_name
from pydantic import BaseModel

from reidfw_core.bus import HookBus
from reidfw_core.catalog import Catalog, CatalogEntry
from reidfw_core.components import Component, ComponentParams
from reidfw_core.errors import BoardNotFound, DataError, ServiceError, ToolNotFound
from reidfw_core.hookspecs import KINDS
from reidfw_core.types import (
    CalibrationSet,
    EmbeddingRunner,
    ModelFile,
    ModelFormat,
    ModelVariants,
    PixelRange,
    Samples,
    TargetInfo,
    no_progress,
)

if TYPE_CHECKING:
    import keras

HEAVY_MODULES = (
    "tensorflow",
    "keras",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "mlflow",
    "clearml",
    "ai_edge_litert",
    "matplotlib",
)
"""What importing a component's module must not import."""

TINY_SHAPE = (32, 24, 3)
"""(H, W, C) of the tiny images and models."""

TINY_EMBEDDING_DIM = 6
"""Length of the embeddings of the tiny models."""

FolderWriter = Callable[[Path], None]


def contract_suite(
    distribution: str,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    folders: Mapping[str, FolderWriter] | None = None,
) -> type:
    """A pytest class with the contract tests of an installed distribution; assign it to a name with ``Test`` in front.

    Args:
        distribution: its name, as in ``pyproject.toml``.
        params: parameters to test a component with, by the name of its entry point; needed where its ``Params`` has
            required fields.
        folders: for readers of folders, by the name of the entry point: a function that writes a tiny data set of
            that layout into an empty folder (2 identities or more, 2 images of each or more).
    """
    entries = [
        entry
        for kind in KINDS
        for entry in Catalog().entries(kind)
        if canonicalize_name(entry.distribution) == canonicalize_name(distribution)
    ]
    subjects = [
        Subject(entry, (params or {}).get(entry.name, {}), (folders or {}).get(entry.name)) for entry in entries
    ]
    namespace: dict[str, Any] = {"__doc__": f"Contract of the components of {distribution}."}

    def test_registers_components(self: object) -> None:  # noqa: ARG001 - a method of the class made below
        assert entries, f"{distribution} is not installed here, or registers no component of reidfw"

    namespace["test_registers_components"] = test_registers_components
    modules = sorted({entry.entry_point.module for entry in entries})
    if modules:
        namespace["test_module_imports_lightly"] = _module_test(modules)
    for check in _CHECKS_OF_ALL:
        if subjects:
            namespace[f"test_{check.__name__}"] = _subject_test(check, subjects)
    for kind, checks in _CHECKS_OF_KIND.items():
        chosen = [subject for subject in subjects if subject.entry.kind == kind]
        for check in checks if chosen else ():
            namespace[f"test_{check.__name__}"] = _subject_test(check, chosen)
    return type("ContractSuite", (), namespace)


# ------------------------------------------------------------------------------------------------ tiny data


def tiny_images(count: int = 4, shape: tuple[int, int, int] = TINY_SHAPE, seed: int = 0) -> np.ndarray:
    """Random images (N, H, W, C) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(np.float32)


def tiny_calibration_set(count: int = 8) -> CalibrationSet:
    """A calibration set of random images, (1, H, W, C) each."""
    images = tiny_images(count)

    def batches() -> Iterator[np.ndarray]:
        return (image[None] for image in images)

    return CalibrationSet(num_images=count, images=batches, origin="random images")


def tiny_keras_model(seed: int = 0) -> keras.Model:
    """A convolution, batch normalization, ReLU and global pooling: image (B, H, W, C) to embedding (B, D)."""
    import keras

    initial = keras.initializers.GlorotUniform(seed=seed)
    image = keras.Input(TINY_SHAPE, name="image")
    features = keras.layers.Conv2D(TINY_EMBEDDING_DIM, 3, 2, "same", kernel_initializer=initial)(image)
    features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="embedding")(features), name="tiny")


def tiny_model_file(folder: Path, model_format: ModelFormat) -> ModelFile | None:
    """Writes the tiny model as a file; None for a format that TensorFlow alone does not write.

    Args:
        folder: an existing folder.
        model_format: ``keras/float32``, ``tflite/float32`` and ``tflite/int8`` are known.
    """
    model = tiny_keras_model()
    path = folder / f"tiny.{model_format.container}"
    if model_format.fits(ModelFormat("keras", "float32")):
        model.save(path)
        numeric = "float32"
    elif model_format.container == "tflite" and model_format.numeric in {"float32", "int8", "*"}:
        numeric = "int8" if model_format.numeric == "int8" else "float32"
        path.write_bytes(_tflite_bytes(model, numeric))
    else:
        return None
    return ModelFile(
        path=path,
        format=ModelFormat(model_format.container, numeric),
        name="tiny",
        input_shape=TINY_SHAPE,
        embedding_dim=TINY_EMBEDDING_DIM,
    )


def _tflite_bytes(model: keras.Model, numeric: str) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if numeric == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in tiny_calibration_set().images())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


# ------------------------------------------------------------------------------------------------ what is tested


@dataclass(frozen=True)
class Subject:
    """A registered component under test.

    Attributes:
        entry: where it is registered.
        params: parameters to make it with.
        write_folder: writes a tiny data set that it reads.
    """

    entry: CatalogEntry
    params: Mapping[str, Any] = field(default_factory=dict)
    write_folder: FolderWriter | None = None

    def load(self) -> type[Component]:
        """Its class."""
        return Catalog().load(self.entry.kind, self.entry.reference)

    def make(self) -> Component:
        """A new instance, on which hooks can be called by keyword."""
        component_class = self.load()
        return component_class(component_class.Params.model_validate(dict(self.params)))

    def ask(self, hook: str, **arguments: Any) -> Any:
        """The answer of a new instance to a hook."""
        component, bus = self.make(), HookBus()
        bus.add(component, self.entry.name)
        return bus.ask(component, hook, **arguments)

    def supports(self, hook: str) -> bool:
        """Whether it answers an optional hook."""
        component, bus = self.make(), HookBus()
        bus.add(component, self.entry.name)
        return bus.supports(component, hook)


Check = Callable[[Subject, Path], None]


def _subject_test(check: Check, subjects: Sequence[Subject]) -> Any:
    @functools.wraps(check, assigned=("__doc__",))
    def test(self: object, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
        monkeypatch.chdir(tmp_path)  # a component that writes where the user works writes here
        try:
            check(subject, tmp_path)
        except (ToolNotFound, BoardNotFound, ServiceError) as missing:
            pytest.skip(f"{subject.entry.name}: {missing}")

    del test.__wrapped__  # pytest would read the check's signature instead
    ids = [f"{subject.entry.kind}-{subject.entry.name}" for subject in subjects]
    return pytest.mark.parametrize("subject", subjects, ids=ids)(test)


def _module_test(modules: Sequence[str]) -> Any:
    @pytest.mark.parametrize("module", modules)
    def test(self: object, module: str) -> None:  # noqa: ARG001
        """The listing and the plan load a component's module, so it must not import a framework."""
        script = (
            "import importlib, sys\n"
            f"importlib.import_module({module!r})\n"
            f"print(*sorted(set({HEAVY_MODULES!r}) & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
        loaded = done.stdout.split()
        assert not loaded, f"importing {module} imports {', '.join(loaded)}; import it inside the hooks"

    return test


def _needs_keras() -> None:
    pytest.importorskip("tensorflow", reason="needs TensorFlow")
    pytest.importorskip("keras", reason="needs Keras")


# ------------------------------------------------------------------------------------------------ every component


def is_a_documented_class_of_its_kind(subject: Subject, _: Path) -> None:
    """It can be loaded, and its docstring is its own."""
    component_class = subject.load()
    base = KINDS[subject.entry.kind].base
    assert component_class.__doc__, f"{component_class.__name__} has no docstring"
    assert component_class.__doc__ != base.__doc__, f"{component_class.__name__} has the docstring of {base.__name__}"
    assert hash(component_class), "a component is registered by identity, so it must be hashable"


def describes_its_params(subject: Subject, _: Path) -> None:
    """Each parameter has a description, unknown ones are refused, values cannot change."""
    model = subject.load().Params
    assert issubclass(model, ComponentParams), "Params must derive from reidfw_core.api.ComponentParams"
    assert _undescribed(model) == [], f"parameters without description: {', '.join(_undescribed(model))}"
    assert model.model_config.get("extra") == "forbid", "Params must refuse unknown names"
    assert model.model_config.get("frozen"), "Params must be frozen"


def has_valid_defaults(subject: Subject, _: Path) -> None:
    """It can be made from its defaults, or from the parameters given to the suite."""
    model = subject.load().Params
    required = [name for name, info in model.model_fields.items() if info.is_required()]
    missing = [name for name in required if name not in subject.params]
    assert not missing, (
        f"{', '.join(missing)} must be given: contract_suite(..., params={{{subject.entry.name!r}: {{...}}}})"
    )
    assert isinstance(subject.make().params, model)


def binds_its_hooks(subject: Subject, _: Path) -> None:
    """Its hooks are those of its kind, with the arguments of the contract."""
    HookBus().add(subject.make(), subject.entry.name)


def _undescribed(model: type[BaseModel], prefix: str = "") -> list[str]:
    missing = []
    for name, info in model.model_fields.items():
        if not (info.description or "").strip():
            missing.append(prefix + name)
        for nested in (info.annotation, *get_args(info.annotation)):
            if inspect.isclass(nested) and issubclass(nested, BaseModel):
                missing += _undescribed(nested, f"{prefix}{name}.")
    return missing


# ------------------------------------------------------------------------------------------------ data sets


def reads_samples(subject: Subject, folder: Path) -> None:
    """Existing files, each with its identity, the same ones in the same order every time."""
    reader: Any = subject.load()
    root = None
    if reader.needs_paths:
        if subject.write_folder is None:
            pytest.skip(f"no data set for {subject.entry.name}: contract_suite(..., folders=...) takes a writer of one")
        root = folder / "images"
        root.mkdir()
        subject.write_folder(root)
    for role in ("training", "test_query", "test_gallery"):
        samples = subject.ask("read_samples", root=root, role=role)
        assert isinstance(samples, Samples)
        assert samples.role == role
        assert len(samples) >= 4
        assert len(samples.identity_names) >= 2
        assert all(path.is_absolute() and path.is_file() for path in samples.paths)
        assert samples.cameras is not None or not reader.knows_cameras, "knows_cameras, but the samples have none"
        assert subject.ask("read_samples", root=root, role=role) == samples, "read twice, the samples differ"


def refuses_an_empty_folder(subject: Subject, folder: Path) -> None:
    """A folder without images is a fault of the input, told as such."""
    reader: Any = subject.load()
    if reader.needs_paths:
        with pytest.raises(DataError):
            subject.ask("read_samples", root=folder, role="training")


# ------------------------------------------------------------------------------------------------ augmentations


def augments_within_the_contract(subject: Subject, _: Path) -> None:
    """Same shape and dtype, values inside the pixel range, nothing at all when not training."""
    _needs_keras()
    component: Any = subject.load()
    for pixel_range in (PixelRange(-1.0, 1.0), PixelRange(0.0, 1.0), PixelRange(0.0, 255.0)):
        layer = subject.ask("build_augmentation", pixel_range=pixel_range, seed=1)
        for channels in (3,) if component.color_only else (1, 3):
            batch = _in_range(tiny_images(4, (*TINY_SHAPE[:2], channels)), pixel_range)
            changed = np.asarray(layer(batch, training=True))
            assert changed.shape == batch.shape
            assert changed.dtype == np.float32
            slack = 1e-4 * (pixel_range.high - pixel_range.low)
            assert np.isfinite(changed).all()
            assert changed.min() >= pixel_range.low - slack
            assert changed.max() <= pixel_range.high + slack
            np.testing.assert_array_equal(np.asarray(layer(batch, training=False)), batch)


def augments_by_its_seed_alone(subject: Subject, _: Path) -> None:
    """The same seed gives the same sequence of batches, also after other random numbers were drawn."""
    _needs_keras()
    import keras

    pixel_range, batch = PixelRange(-1.0, 1.0), tiny_images(8)

    def sequence() -> np.ndarray:
        layer = subject.ask("build_augmentation", pixel_range=pixel_range, seed=5)
        return np.stack([np.asarray(layer(batch, training=True)) for _ in range(3)])

    first = sequence()
    keras.utils.set_random_seed(99)
    np.testing.assert_array_equal(sequence(), first)


def augments_inside_a_data_pipeline(subject: Subject, _: Path) -> None:
    """It works in ``tf.data.Dataset.map``, and comes back from its configuration."""
    _needs_keras()
    import keras
    import tensorflow as tf

    layer = subject.ask("build_augmentation", pixel_range=PixelRange(-1.0, 1.0), seed=5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer)
    dataset = tf.data.Dataset.from_tensor_slices(tiny_images(4)).batch(2)
    for batch in dataset.map(lambda images: copy(images, training=True)):
        assert batch.shape == (2, *TINY_SHAPE)


def _in_range(images: np.ndarray, pixel_range: PixelRange) -> np.ndarray:
    """Images in [-1, 1] stretched to a pixel range."""
    width = pixel_range.high - pixel_range.low
    return (pixel_range.low + (images + 1) / 2 * width).astype(np.float32)


# ------------------------------------------------------------------------------------------------ backbones


def builds_a_feature_map(subject: Subject, _: Path) -> None:
    """An image becomes a feature map, and gradients reach every weight that trains."""
    _needs_keras()
    import tensorflow as tf

    shape = _backbone_shape(subject)
    model = subject.ask("build_backbone", input_shape=shape, pretrained=False, seed=1)
    assert model.input_shape == (None, *shape)
    with tf.GradientTape() as tape:
        features = model(tiny_images(2, shape), training=True)
        target = tf.reduce_mean(tf.square(features))
    assert features.ndim == 4
    assert features.dtype == "float32"
    assert np.isfinite(np.asarray(features)).all()
    gradients = tape.gradient(target, model.trainable_variables)
    assert model.trainable_variables
    assert all(gradient is not None and np.isfinite(np.asarray(gradient)).all() for gradient in gradients)


def draws_weights_by_its_seed_alone(subject: Subject, _: Path) -> None:
    """The same seed gives the same weights, another one gives others."""
    _needs_keras()
    import keras

    shape = _backbone_shape(subject)

    def weights(seed: int) -> list[np.ndarray]:
        model = subject.ask("build_backbone", input_shape=shape, pretrained=False, seed=seed)
        return list(model.get_weights())

    first = weights(1)
    keras.utils.set_random_seed(99)
    again, other = weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True)), "the same seed gave other weights"
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True)), "the seed has no effect"


def _backbone_shape(subject: Subject) -> tuple[int, int, int]:
    component: Any = subject.load()
    assert component.expects is None or isinstance(component.expects, PixelRange)
    return 2 * component.min_input_px, component.min_input_px, 3


# ------------------------------------------------------------------------------------------------ losses


def gives_a_finite_loss(subject: Subject, _: Path) -> None:
    """A scalar with finite gradients, for random outputs and for the degenerate ones in which all are alike."""
    _needs_keras()
    import tensorflow as tf

    component: Any = subject.load()
    num_identities, embedding_dim, instances = 5, 16, max(2, component.min_instances)
    loss = subject.ask("build_loss", num_identities=num_identities, embedding_dim=embedding_dim)
    identities = np.repeat(np.arange(4), instances)
    width = embedding_dim if component.consumes == "embeddings" else num_identities
    scores = np.random.default_rng(0).normal(size=(len(identities), width)).astype(np.float32)
    for outputs in (scores, np.ones_like(scores)):
        given = tf.nn.softmax(outputs) if component.consumes == "probabilities" else tf.constant(outputs)
        if component.consumes == "cosines":
            given = tf.clip_by_value(given / 2.0, -1.0, 1.0)
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = loss(identities, given)
        gradient = tape.gradient(value, given)
        assert value.shape == ()
        assert value.dtype == tf.float32
        assert np.isfinite(float(value))
        assert gradient is not None, "the loss does not depend on what it consumes"
        assert np.isfinite(np.asarray(gradient)).all()
        assert float(loss(identities, given)) == float(value), "called twice, the loss differs"


# ------------------------------------------------------------------------------------------------ quantizers


def produces_the_format_it_declares(subject: Subject, folder: Path) -> None:
    """It opens a model of each format that it consumes, and writes what ``produces`` says."""
    _needs_keras()
    component: Any = subject.load()
    assert component.consumes, "consumes is empty"
    models = [tiny_model_file(folder, model_format) for model_format in sorted(component.consumes, key=str)]
    known = [model for model in models if model is not None]
    if not known:
        pytest.skip(f"no tiny model in any of {', '.join(map(str, component.consumes))}")
    for model in known:
        given = ModelFile(path=model.path, format=ModelFormat.of_file(model.path), name=model.name)
        inspected = subject.ask("inspect_model", model=given)
        assert inspected.input_shape == TINY_SHAPE
        assert inspected.embedding_dim == TINY_EMBEDDING_DIM
        workdir, export_dir = folder / "work", folder / "quantized_models"
        workdir.mkdir(exist_ok=True)
        export_dir.mkdir(exist_ok=True)
        quantized = subject.ask(
            "quantize_model",
            model=inspected,
            calibration=tiny_calibration_set(),
            workdir=workdir,
            export_dir=export_dir,
        )
        assert quantized.format == component.produces
        assert quantized.path.is_file()
        assert quantized.path.is_relative_to(export_dir)
        assert ModelFormat.of_file(quantized.path).container == component.produces.container
        assert quantized.embedding_dim == TINY_EMBEDDING_DIM


def prepares_a_model_that_can_be_trained(subject: Subject, folder: Path) -> None:
    """What it gives for training has gradients, survives saving, and is what it quantizes then."""
    if not subject.supports("prepare_training"):
        return  # not every quantizer trains
    _needs_keras()
    import keras
    import tensorflow as tf

    model = tiny_model_file(folder, ModelFormat.parse("keras/float32"))
    assert model is not None
    prepared = subject.ask("prepare_training", model=model, calibration=tiny_calibration_set())
    images = tiny_images(4)
    with tf.GradientTape() as tape:
        embeddings = prepared(images, training=True)
        loss = tf.reduce_sum(embeddings**2)
    assert tuple(embeddings.shape) == (4, TINY_EMBEDDING_DIM)
    gradients = tape.gradient(loss, prepared.trainable_variables)
    assert gradients, "nothing can be trained"
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
    path = folder / "trained.keras"
    prepared.save(path)
    opened = keras.saving.load_model(path, compile=False)
    np.testing.assert_array_equal(opened(images, training=False), prepared(images, training=False))
    quantized = subject.ask(
        "quantize_model",
        model=replace(model, path=path),
        calibration=tiny_calibration_set(),
        workdir=folder,
        export_dir=folder,
    )
    assert quantized.path.is_file()


def keeps_layers_at_a_higher_precision(subject: Subject, folder: Path) -> None:
    """Variants are files of the same kind, from few to all layers kept, at each precision that it offers."""
    if not subject.supports("open_variants"):
        return  # a quantizer need not make variants
    _needs_keras()
    model = tiny_model_file(folder, ModelFormat("keras", "float32"))
    assert model is not None
    if not any(model.format.fits(one) for one in subject.load().consumes):  # type: ignore[attr-defined]
        pytest.skip(f"{subject.entry.name} does not read Keras models, the only tiny ones in float")
    export_dir = folder / "quantized_models"
    export_dir.mkdir()
    quantized = subject.ask(
        "quantize_model", model=model, calibration=tiny_calibration_set(), workdir=folder, export_dir=export_dir
    )
    variants = subject.ask("open_variants", float_model=model, quantized_model=quantized, workdir=folder)
    assert isinstance(variants, ModelVariants)
    assert variants.layers
    names = [layer.name for layer in variants.layers]
    assert len(set(names)) == len(names), "two layers of one name"
    assert variants.precisions, "precisions is empty"
    declared = subject.load().keeps_layers_at  # type: ignore[attr-defined]
    assert not declared or set(variants.precisions) <= set(declared), "keeps_layers_at does not name all precisions"
    for layer in variants.layers:
        assert set(layer.precisions) <= set(variants.precisions)
        assert variants.precisions[-1] in layer.precisions, f"{layer.name} cannot be kept at the most precise format"
    for precision in variants.precisions:
        for kept in ((), names[:1], names):
            path = folder / f"variant{quantized.path.suffix}"
            variant = variants.write_variant(kept, precision, path)
            assert variant.path == path
            assert path.is_file()
            able = [layer.name for layer in variants.layers if layer.name in kept and precision in layer.precisions]
            assert list(variant.details.get("kept_layers", ())) == able
            assert variant.format.is_integer, "a variant is a quantized model in all reports"
            path.unlink()
        with pytest.raises(ValueError, match="precision"):
            variants.write_variant((), f"{precision}?", folder / "none")


# ------------------------------------------------------------------------------------------------ targets


def describes_itself(subject: Subject, _: Path) -> None:
    """Facts on the target, without a connection to it."""
    component: Any = subject.load()
    assert isinstance(subject.ask("describe_target"), TargetInfo)
    assert component.accepts, "accepts is empty"
    assert all(isinstance(model_format, ModelFormat) for model_format in component.accepts)


def computes_embeddings(subject: Subject, folder: Path) -> None:
    """A runner gives the embeddings that the model gives in Keras, up to the steps of integer arithmetic."""
    if not subject.supports("open_runner"):
        return  # a target need not compute embeddings
    if subject.supports("probe_target"):
        try:
            subject.ask("probe_target", ability="open_runner")
        except (BoardNotFound, ToolNotFound) as absent:
            pytest.skip(f"not usable here: {absent.message}")
    _needs_keras()
    component: Any = subject.load()
    images = tiny_images(5)
    expected = np.asarray(tiny_keras_model()(images, training=False))
    for model_format in sorted(component.accepts, key=str):
        model = tiny_model_file(folder, model_format)
        if model is None:
            continue
        runner = subject.ask(
            "open_runner", model=model, num_threads=1, workdir=folder / "device_files", progress=no_progress
        )
        try:
            assert isinstance(runner, EmbeddingRunner)
            assert runner.input_shape == TINY_SHAPE
            assert runner.embedding_dim == TINY_EMBEDDING_DIM
            assert runner.format.fits(model.format), f"{model.format} was opened as {runner.format}"
            embeddings = runner.embed(images)
        finally:
            runner.close()
        assert embeddings.dtype == np.float32
        tolerance = 0.05 * float(expected.max()) if model.format.is_integer else 1e-4
        np.testing.assert_allclose(embeddings, expected, atol=tolerance)


# ------------------------------------------------------------------------------------------------ listeners


def follows_a_run(subject: Subject, folder: Path) -> None:
    """It takes all that a run tells, in order."""
    component: Any = subject.make()
    assert component.on_error in {"fail", "warn"}
    bus, run_dir = HookBus(), folder / "outputs" / "run"
    run_dir.mkdir(parents=True)
    (run_dir / "result.txt").write_text("result")
    bus.add(component, subject.entry.name)
    bus.tell(
        "run_started",
        run_dir=run_dir,
        project="contract",
        operation_mode="training",
        config={"training": {"epochs": 1, "dropout": None}},
        origin={"config_path": str(folder), "config_name": "user_config"},
    )
    bus.tell("step_started", step="train", number=1, total=1)
    bus.tell("work_started", task="images", total=2, unit="images")
    bus.tell("work_advanced", task="images", done=2)
    bus.tell("work_finished", task="images")
    bus.tell("epoch_finished", epoch=1, total=1, metrics={"loss": 1.5})
    bus.tell("metrics_reported", step="train", metrics={"val_loss": 1.0}, params={"target": "host"})
    bus.tell("artifact_saved", path=run_dir / "result.txt", description="a result")
    bus.tell("step_finished", step="train", seconds=0.5)
    bus.tell("step_failed", step="evaluate", error=DataError("no images"))
    bus.tell("run_finished", run_dir=run_dir, status="failed")


_CHECKS_OF_ALL: tuple[Check, ...] = (
    is_a_documented_class_of_its_kind,
    describes_its_params,
    has_valid_defaults,
    binds_its_hooks,
)

_CHECKS_OF_KIND: dict[str, tuple[Check, ...]] = {
    "datasets": (reads_samples, refuses_an_empty_folder),
    "augmentations": (augments_within_the_contract, augments_by_its_seed_alone, augments_inside_a_data_pipeline),
    "backbones": (builds_a_feature_map, draws_weights_by_its_seed_alone),
    "losses": (gives_a_finite_loss,),
    "quantizers": (
        produces_the_format_it_declares,
        prepares_a_model_that_can_be_trained,
        keeps_layers_at_a_higher_precision,
    ),
    "targets": (describes_itself, computes_embeddings),
    "listeners": (follows_a_run,),
}
