"""MobileNets: the right network, the right weights, and a clear word where a file is the wrong one."""

from __future__ import annotations

import urllib.error
import urllib.request
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from reidfw_backbones import mobilenet
from reidfw_backbones._keras.mobilenet import published_weights_url
from reidfw_backbones.mobilenet import ARCHITECTURES, MobileNet

from reidfw_core.api import DataError, ServiceError

COMPONENTS: dict[str, type[MobileNet]] = {
    component.architecture.name: component
    for component in vars(mobilenet).values()
    if isinstance(component, type) and issubclass(component, MobileNet) and component is not MobileNet
}
PRETRAINED = Path(__file__).resolve().parents[2] / "../shared/data/pretrained"
QUICK = ("mobilenetv1_a025", "mobilenetv2_a035")
EACH_ARCHITECTURE = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(ARCHITECTURES)
]
REAL_WEIGHTS = [
    ("mobilenetv1_a025_imagenet", keras.applications.MobileNet),
    pytest.param("mobilenetv1_a025_imagenet_bncal", keras.applications.MobileNet, marks=pytest.mark.slow),
    pytest.param("mobilenetv1_a050_imagenet", keras.applications.MobileNet, marks=pytest.mark.slow),
    pytest.param("mobilenetv2_a100_imagenet_bncal", keras.applications.MobileNetV2, marks=pytest.mark.slow),
]


def build(name: str, shape=(64, 32, 3), pretrained: bool | Path = False, seed: int = 0) -> keras.Model:
    return COMPONENTS[name]().build_backbone(input_shape=shape, pretrained=pretrained, seed=seed)


def images(shape=(64, 32, 3), count: int = 2) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (count, *shape)).astype(np.float32)


def features(model: keras.Model, batch: np.ndarray) -> np.ndarray:
    return np.asarray(model(batch, training=False))


def same_weights(a: keras.Model, b: keras.Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def test_all_widths_of_the_model_zoo_are_there():
    assert (
        sorted(COMPONENTS)
        == sorted(ARCHITECTURES)
        == [
            *(f"mobilenetv1_a{width}" for width in ("025", "050", "075", "100")),
            *(f"mobilenetv2_a{width}" for width in ("035", "050", "075", "100", "130", "140")),
        ]
    )


@pytest.mark.parametrize(
    ("name", "published", "classifier_inputs"),
    [
        # Keras's table of applications: parameters with the 1,000-class classifier
        ("mobilenetv1_a100", 4_253_864, 1024),
        ("mobilenetv2_a100", 3_538_984, 1280),
    ],
)
def test_parameter_counts_agree_with_the_published_ones(name, published, classifier_inputs):
    assert ARCHITECTURES[name].num_parameters + (classifier_inputs + 1) * 1000 == published


@pytest.mark.parametrize("name", EACH_ARCHITECTURE)
def test_network_has_the_stated_size_and_gives_a_feature_map(name):
    model = build(name, (96, 64, 3))
    assert model.count_params() == ARCHITECTURES[name].num_parameters
    assert model.output_shape == (None, 3, 2, ARCHITECTURES[name].feature_dim)
    assert model.name == name
    assert features(model, images((96, 64, 3))).dtype == np.float32


def test_grayscale_input():
    model = build("mobilenetv1_a025", (64, 32, 1))
    assert features(model, images((64, 32, 1))).shape == (2, 2, 1, 256)


def test_four_channels_are_no_reason_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build("mobilenetv2_a035", (64, 32, 4)).input_shape == (None, 64, 32, 4)


def test_too_small_an_input_is_refused():
    with pytest.raises(DataError, match=r"at least 32 x 32 px.*\(64, 16, 3\)"):
        build("mobilenetv2_a035", (64, 16, 3))


def test_random_weights_depend_on_the_seed_alone():
    first = build("mobilenetv1_a025", seed=7)
    keras.utils.set_random_seed(123)  # Python's, NumPy's and Keras's global generators
    again = build("mobilenetv1_a025", seed=7)
    assert same_weights(first, again)
    assert not same_weights(first, build("mobilenetv1_a025", seed=8))


def test_random_weights_do_not_depend_on_the_input_size():
    assert same_weights(build("mobilenetv1_a025", (32, 32, 3), seed=7), build("mobilenetv1_a025", (64, 48, 3), seed=7))


def test_every_kernel_is_drawn_from_its_own_glorot_interval():
    model = build("mobilenetv2_a035", seed=1)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    for kernel in kernels:
        receptive = kernel.shape[0] * kernel.shape[1]
        limit = np.sqrt(6 / (receptive * (kernel.shape[2] + kernel.shape[3])))
        assert np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.15)
    firsts = {float(kernel.ravel()[0]) for kernel in kernels}
    assert len(firsts) == len(kernels), "two layers share their random numbers"


def test_seeding_leaves_numpys_global_generator_alone():
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    build("mobilenetv1_a025", seed=7)
    assert np.random.random() == expected


def test_weights_file_round_trip(tmp_path):
    trained = build("mobilenetv1_a025", seed=1)
    trained.save_weights(tmp_path / "mine.weights.h5")
    loaded = build("mobilenetv1_a025", (96, 96, 3), pretrained=tmp_path / "mine.weights.h5", seed=2)
    assert same_weights(trained, loaded)


def test_weights_file_in_the_old_format(tmp_path):
    """What Keras publishes: layers in order, whatever their names."""
    trained = build("mobilenetv2_a035", seed=1)
    trained.save(tmp_path / "model.h5")
    import h5py

    with h5py.File(tmp_path / "model.h5") as source, h5py.File(tmp_path / "old.h5", "w") as target:
        for key, value in source["model_weights"].attrs.items():
            target.attrs[key] = value
        for group in source["model_weights"]:
            source.copy(source["model_weights"][group], target, group)
    assert same_weights(trained, build("mobilenetv2_a035", pretrained=tmp_path / "old.h5"))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_whole_model_with_a_head(tmp_path, suffix):
    trained = build("mobilenetv1_a025", seed=1)
    pooled = keras.layers.GlobalAveragePooling2D()(trained.output)
    path = tmp_path / f"classifier{suffix}"
    keras.Model(trained.input, keras.layers.Dense(5, activation="softmax")(pooled)).save(path)
    assert same_weights(trained, build("mobilenetv1_a025", pretrained=path))


def test_whole_model_with_the_backbone_nested_in_it(tmp_path):
    trained = build("mobilenetv1_a025", seed=1)
    keras.Sequential([trained, keras.layers.GlobalAveragePooling2D()]).save(tmp_path / "nested.keras")
    assert same_weights(trained, build("mobilenetv1_a025", pretrained=tmp_path / "nested.keras"))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_grayscale_input_with_rgb_weights_sees_the_gray_image_three_times(tmp_path, suffix):
    path = tmp_path / f"rgb{suffix}"
    rgb = build("mobilenetv1_a025", seed=1)
    rgb.save_weights(path) if suffix == ".weights.h5" else rgb.save(path)
    gray = build("mobilenetv1_a025", (64, 32, 1), pretrained=path)
    batch = images((64, 32, 1))
    np.testing.assert_allclose(features(gray, batch), features(rgb, np.repeat(batch, 3, axis=-1)), atol=1e-5)


def test_rgb_input_with_grayscale_weights_is_refused(tmp_path):
    build("mobilenetv1_a025", (64, 32, 1)).save_weights(tmp_path / "gray.weights.h5")
    with pytest.raises(DataError, match=r"for 1 input channels, model.input_shape has 3"):
        build("mobilenetv1_a025", pretrained=tmp_path / "gray.weights.h5")


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("channels", [1, 3])
def test_weights_of_another_width_are_named(tmp_path, suffix, channels):
    path = tmp_path / f"wrong{suffix}"
    other = build("mobilenetv1_a050", (32, 32, channels))
    other.save_weights(path) if suffix == ".weights.h5" else other.save(path)
    with pytest.raises(DataError, match="holds the weights of mobilenetv1_a050, not of mobilenetv1_a025") as refused:
        build("mobilenetv1_a025", pretrained=path)
    assert "model.model_name: mobilenetv1_a050" in str(refused.value.hint)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_architecture(tmp_path):
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Conv2D(4, 3)(image)).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(DataError, match="does not fit mobilenetv1_a025: it holds 112 numbers in 2 tensors"):
        build("mobilenetv1_a025", pretrained=tmp_path / "other.weights.h5")


def test_weights_file_under_a_name_that_keras_does_not_take(tmp_path):
    build("mobilenetv1_a025").save_weights(tmp_path / "mine.weights.h5")
    (tmp_path / "mine.weights.h5").rename(tmp_path / "mine.h5")
    with pytest.raises(DataError, match=r"must end in \.weights\.h5"):
        build("mobilenetv1_a025", pretrained=tmp_path / "mine.h5")


@pytest.mark.parametrize("name", ["text.weights.h5", "text.h5", "text.keras"])
def test_damaged_file(tmp_path, name):
    (tmp_path / name).write_text("not weights")
    with pytest.raises(DataError, match=rf"model.pretrained: .*{name}"):
        build("mobilenetv1_a025", pretrained=tmp_path / name)


def test_absent_file_and_foreign_suffix(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        build("mobilenetv1_a025", pretrained=tmp_path / "none.weights.h5")
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(DataError, match="not a file of Keras weights"):
        build("mobilenetv1_a025", pretrained=tmp_path / "model.tflite")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize(("shape", "size_px"), [((160, 160, 3), 160), ((256, 128, 3), 224), ((96, 96, 1), 224)])
def test_published_weights_are_those_that_keras_itself_would_take(shape, size_px, monkeypatch, cache):
    """For input sizes without a file of their own, Keras takes the ones trained at 224 x 224."""
    asked: list[str] = []

    def refuse(url, *args, **kwargs):
        asked.append(url if isinstance(url, str) else url.full_url)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for name, constructor in (
        ("mobilenetv1_a025", keras.applications.MobileNet),
        ("mobilenetv1_a100", keras.applications.MobileNet),
        ("mobilenetv2_a035", keras.applications.MobileNetV2),
        ("mobilenetv2_a140", keras.applications.MobileNetV2),
    ):
        if shape[0] == 96 and "v2" in name:
            continue  # this one has weights of its own for 96 x 96
        with pytest.raises(Exception, match="URL fetch failure"):
            constructor(
                input_shape=(*shape[:2], 3), alpha=ARCHITECTURES[name].alpha, include_top=False, weights="imagenet"
            )
        url = published_weights_url(ARCHITECTURES[name], shape)
        assert url == asked[-1]
        assert f"_{size_px}_" in url


def test_offline_the_message_says_what_to_fetch_and_where_to_put_it(monkeypatch, cache, capsys):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ServiceError) as offline:
        build("mobilenetv1_a025", (256, 128, 3), pretrained=True)
    assert str(cache) in offline.value.message
    assert "Name or service not known" in offline.value.message
    assert "/mobilenet_2_5_224_tf_no_top.h5 " in str(offline.value.hint)
    assert "model.pretrained" in str(offline.value.hint)
    assert not list(cache.glob("*")), "a partial download was left behind"
    assert capsys.readouterr().out == "", "stdout carries results only"


def test_pretrained_comes_from_the_cache_without_network(monkeypatch, cache, tmp_path):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    trained = build("mobilenetv1_a025", seed=1)
    trained.save(tmp_path / "model.h5")
    cache.mkdir(parents=True)
    (tmp_path / "model.h5").rename(cache / "mobilenet_2_5_224_tf_no_top.h5")
    assert same_weights(trained, build("mobilenetv1_a025", (256, 128, 3), pretrained=True))


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="needs ../shared/data/pretrained beside the checkout")
@pytest.mark.parametrize(("stem", "constructor"), REAL_WEIGHTS)
def test_real_imagenet_weights_give_the_features_that_keras_gives(stem, constructor):
    path = PRETRAINED / f"{stem}.weights.h5"
    name = stem.partition("_imagenet")[0]
    reference = constructor(input_shape=(64, 32, 3), alpha=ARCHITECTURES[name].alpha, include_top=False, weights=None)
    reference.load_weights(path)
    batch = images()
    given = features(build(name, pretrained=path), batch).mean(axis=(1, 2))
    wanted = features(reference, batch).mean(axis=(1, 2))
    cosine = (given * wanted).sum(1) / np.linalg.norm(given, axis=1) / np.linalg.norm(wanted, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-6)
    untrained = features(build(name), batch).mean(axis=(1, 2))
    assert not np.allclose(given, untrained, atol=1e-2)
