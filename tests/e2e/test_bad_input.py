"""Bad input: one clear message, exit code 2 or 3, nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data that a test may damage."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


def outputs() -> list[Path]:
    return list(Path("experiments_outputs").rglob("*")) if Path("experiments_outputs").exists() else []


def empty_folder(data: Path) -> None:
    shutil.rmtree(data / "training")
    (data / "training").mkdir()


def one_identity(data: Path) -> None:
    for path in (data / "training").glob("p0[1-9]*"):
        path.unlink()


def no_underscore(data: Path) -> None:
    (data / "training" / "p00_00.jpg").rename(data / "training" / "nobody.jpg")


def truncated(data: Path) -> None:
    path = data / "gallery" / "p20_02.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def text_file(data: Path) -> None:
    (data / "query" / "p20_00.jpg").write_text("no image")


def disjoint(data: Path) -> None:
    for path in (data / "gallery").iterdir():
        path.rename(path.with_name("q" + path.name))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty_folder, "training"),
        (one_identity, "single identity|at least two|one identity"),
        (no_underscore, "nobody.jpg"),
        (truncated, "p20_02.jpg is a JPEG that was cut off"),
        (text_file, "p20_00.jpg is not a JPEG, PNG, BMP, GIF or WebP image"),
        (disjoint, "No query image has an image of its identity in the gallery"),
    ],
)
def test_unusable_images(
    reidfw: Callable, tiny_config: Path, data: Path, tiny_data: Path, damage: Callable, message: str
) -> None:
    import re

    damage(data)
    tiny_config.write_text(tiny_config.read_text(encoding="utf-8").replace(str(tiny_data), str(data)), encoding="utf-8")
    outcome = reidfw("run", tiny_config)
    assert outcome.code == 2
    assert re.search(message, outcome.text), outcome.text
    assert "Traceback" not in outcome.text
    assert not outputs()


def test_many_bad_images_are_listed_in_a_file(reidfw: Callable, tiny_config: Path, data: Path) -> None:
    for path in (data / "training").iterdir():
        path.write_bytes(b"")
    damaged = data / "gallery" / "p20_02.jpg"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:300] + content[-2:])  # whole at both ends: only decoding finds it
    outcome = reidfw(
        "run",
        tiny_config,
        "dataset.check_image_files=true",
        *(
            f"dataset.{role}_path='{data / folder}'"
            for role, folder in (("training", "training"), ("test_query", "query"), ("test_gallery", "gallery"))
        ),
    )
    assert outcome.code == 2
    listing = Path("experiments_outputs") / "bad_images.txt"
    assert "and 39 more; all of them are listed in" in outcome.text
    lines = listing.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 49
    assert sum(line.endswith("\tis empty") for line in lines) == 48
    assert lines[-1].startswith(f"{damaged}\tcannot be decoded")
    assert outputs() == [listing]


def test_augmentation_that_images_cannot_go_through(reidfw: Callable, tiny_config: Path) -> None:
    outcome = reidfw("preview", "augmentation", tiny_config, "+data_augmentation.random_blur={filter_size: 129}")
    assert outcome.code == 2
    assert "data_augmentation.random_blur: filter_size 129" in " ".join(outcome.text.split())
    assert "in user code" not in outcome.text


@pytest.mark.slow
def test_images_of_all_kinds_in_one_run(reidfw: Callable, tiny_config: Path, data: Path, tiny_data: Path) -> None:
    """CMYK, 16 bits, palettes, animations, WebP named .jpg and turned photographs: trained, quantized and shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (data / "training").glob("p0[0-3]_00.jpg"):
        Image.open(path).rotate(90, expand=True).save(path, exif=exif, quality=92)
    query, gallery = data / "query", data / "gallery"
    Image.open(query / "p20_00.jpg").rotate(90, expand=True).save(query / "p20_00.jpg", exif=exif, quality=92)
    Image.open(query / "p21_00.jpg").save(query / "p21_00.jpg", format="WEBP", lossless=True)
    Image.open(query / "p22_00.jpg").convert("CMYK").save(query / "p22_00.jpg", quality=95)
    frames = [Image.open(gallery / name).quantize() for name in ("p20_02.jpg", "p21_02.jpg")]
    frames[0].save(gallery / "p20_02.gif", save_all=True, append_images=frames[1:])
    (gallery / "p20_02.jpg").unlink()
    Image.open(gallery / "p21_03.jpg").quantize().save(gallery / "p21_03.bmp")
    (gallery / "p21_03.jpg").unlink()
    tiny_config.write_text(tiny_config.read_text(encoding="utf-8").replace(str(tiny_data), str(data)), encoding="utf-8")
    outcome = reidfw("run", tiny_config, "dataset.check_image_files=true", "hydra.run.dir=r", "~mlflow")
    assert outcome.code == 0, outcome.text
    assert "image files can be decoded" in outcome.text
    assert list(Path("r").glob("*retrieval*")) or list(Path("r").rglob("*sheet*"))


@pytest.mark.parametrize(
    ("overrides", "messages"),
    [
        (["training.epoch=3"], ["training.epoch", "did you mean 'epochs'"]),
        (["training.epochs=many"], ["training.epochs", "integer"]),
        (["training.epochs=0"], ["training.epochs", "1"]),
        (["training.batch_size=10"], ["training.batch_size", "multiple"]),
        (["model.model_name=mobilnetv1_a025"], ["model.model_name", "did you mean 'mobilenetv1_a025'"]),
        (["operation_mode=chain_tqx"], ["operation_mode", "chain_tqe"]),
        (["training.triplet_loss.strategy=sem_hard"], ["training.triplet_loss.strategy", "semi_hard"]),
        (["training.triplet_loss.margn=0.2"], ["training.triplet_loss.margn", "margin"]),
        (["quantization.granularity=per_chanel"], ["quantization.granularity", "per_channel"]),
        (["quantization.quantizer=TFlite_convertor"], ["quantization.quantizer", "TFlite_converter"]),
        (["preprocessing.resizing.interpolation=bilinea"], ["preprocessing.resizing.interpolation", "bilinear"]),
        (["dataset.training_path=nowhere"], ["dataset.training_path", os.sep + "nowhere"]),
        (["dataset.reader=csv"], ["dataset.reader"]),
        (["data_augmentation.random_flop.mode=horizontal"], ["data_augmentation.random_flop", "random_flip"]),
        (["training.optimizer=Adma"], ["training.optimizer", "Adam"]),
        (["+training.callbacks.ModelCheckpoint.filepath=x"], ["ModelCheckpoint", "built in"]),
        (
            ["training.epochs=0", "model.model_name=nope", "dataset.validation_split=2"],
            ["training.epochs", "model.model_name", "dataset.validation_split"],
        ),
    ],
)
def test_a_wrong_attribute(reidfw: Callable, tiny_config: Path, overrides: list[str], messages: list[str]) -> None:
    outcome = reidfw("run", tiny_config, *overrides)
    assert outcome.code == 2, outcome.text
    for message in messages:
        assert message in outcome.text, outcome.text
    assert "Traceback" not in outcome.text
    assert not outputs()


def test_errors_of_a_file_are_shown_with_their_lines(reidfw: Callable, tiny_config: Path) -> None:
    lines = tiny_config.read_text(encoding="utf-8").splitlines()
    number = next(i for i, line in enumerate(lines) if "batch_size" in line)
    lines[number] = "  batch_sise: 16"
    tiny_config.write_text("\n".join(lines), encoding="utf-8")
    outcome = reidfw("validate", tiny_config)
    assert outcome.code == 2
    assert f"{tiny_config.name}:{number + 1}: training.batch_sise" in outcome.text


@pytest.mark.parametrize("name", ["text.keras", "image.keras", "text.tflite", "text.onnx", "model.pt"])
def test_a_model_file_of_the_wrong_kind(reidfw: Callable, tiny_config: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("image"):
        Image.new("RGB", (8, 8)).save(path, format="JPEG")
    else:
        path.write_text("this is no model")
    outcome = reidfw("run", tiny_config, "operation_mode=evaluation", "~model.model_name", f"model.model_path='{path}'")
    assert outcome.code == 2, outcome.text
    assert name in outcome.text
    assert "Traceback" not in outcome.text


def test_a_plan_that_lacks_something_says_what(reidfw: Callable, tiny_config: Path) -> None:
    for removed, needed in (
        (["~dataset.test_gallery_path"], "dataset.test_gallery_path"),
        (["operation_mode=prediction"], "prediction_query_path"),
        (["operation_mode=chain_eqe", "~model.model_name"], "model"),
    ):
        outcome = reidfw("run", tiny_config, "--dry-run", *removed)
        assert outcome.code == 2, outcome.text
        assert needed in outcome.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_folder(reidfw: Callable, tiny_config: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    outcome = reidfw("run", tiny_config, "hydra.run.dir=locked/run")
    assert outcome.code == 3
    assert "locked" in outcome.text


def test_an_output_folder_that_cannot_be_made(reidfw: Callable, tiny_config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = reidfw("run", tiny_config, "hydra.run.dir=file/run")
    assert outcome.code == 3
    assert "The run folder" in outcome.text


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits file sizes the POSIX way")
def test_no_room_for_the_model(tiny_config: Path, tmp_path: Path) -> None:
    """With room for 200 KiB a file the first model cannot be saved: exit code 3, and no half model."""
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024,) * 2);"
        "from reidfw_core.cli.app import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", limit, "run", str(tiny_config), "operation_mode=training", "hydra.run.dir=r", "~mlflow"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    text = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 3, text
    assert "Cannot write" in text
    assert not list((tmp_path / "r").rglob("*.keras"))
    assert "failed" in (tmp_path / "r" / "reidfw" / "status.json").read_text()
