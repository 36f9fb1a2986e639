"""What the YAML may hold: defaults, ranges, messages."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest
from pydantic import ValidationError
from reidfw_augmentations import color, erasing, geometry, intensity, policies, quality

from reidfw_core.api import Augmentation, PixelRange
from reidfw_core.bus import HookBus

FUNCTIONS = {
    entry.name: entry
    for entry in entry_points(group="reidfw.augmentations")
    if entry.dist.name == "reidfw-augmentations"
}

DOCUMENTED = [
    "random_contrast",
    "random_brightness",
    "random_gamma",
    "random_hue",
    "random_saturation",
    "random_value",
    "random_hsv",
    "random_rgb_to_hsv",
    "random_rgb_to_grayscale",
    "random_sharpness",
    "random_posterize",
    "random_invert",
    "random_solarize",
    "random_autocontrast",
    "random_blur",
    "random_gaussian_noise",
    "random_crop",
    "random_jpeg_quality",
    "random_flip",
    "random_translation",
    "random_rotation",
    "random_shear",
    "random_shear_x",
    "random_shear_y",
    "random_zoom",
    "random_rectangle_erasing",
    "random_gamma_adjust",
    "random_equalize",
    "random_grid_cell_erasing",
    "random_bounded_crop",
    "random_padded_crop",
    "random_periodic_resizing",
    "random_color_jitter",
    "rand_augment",
    "augmix",
]

COLOR_ONLY = {
    "random_hue", "random_saturation", "random_value", "random_hsv", "random_rgb_to_hsv", "random_rgb_to_grayscale",
    "random_autocontrast", "random_color_jitter",
}  # fmt: skip


def test_all_functions_are_installed():
    assert set(FUNCTIONS) == set(DOCUMENTED)


def test_components_are_light():
    modules = sorted({entry.module for entry in FUNCTIONS.values()})
    code = f"import {', '.join(modules)}, json, sys; print(json.dumps(list(sys.modules)))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = json.loads(answer.stdout)

    assert not {"tensorflow", "keras"} & set(loaded)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_contract_of_a_component(name):
    component = FUNCTIONS[name].load()

    assert issubclass(component, Augmentation)
    assert component.__doc__
    assert component.color_only == (name in COLOR_ONLY)
    properties = component.Params.model_json_schema()["properties"]
    assert all(field.get("description") for field in properties.values())
    assert "change_rate" in properties
    with pytest.raises(ValidationError, match="pixels_range"):
        component.Params(pixels_range=(0, 1))


@pytest.mark.parametrize("name", ["random_flip", "random_rotation", "random_autocontrast"])
def test_hooks_bind(name):
    component_class = FUNCTIONS[name].load()
    given = {"random_flip": {"mode": "vertical"}, "random_rotation": {"factor": 0.1}}.get(name, {})
    component = component_class(component_class.Params(**given))
    bus = HookBus()
    bus.add(component, name)

    layer = bus.ask(component, "build_augmentation", pixel_range=PixelRange(-1.0, 1.0), seed=5)

    assert (layer.low, layer.high, layer.seed) == (-1.0, 1.0, 5)


@pytest.mark.parametrize(
    ("params", "given", "field", "expected"),
    [
        (intensity.RandomContrast.Params, {"factor": 0.4}, "factor", (0.6, 1.4)),
        (intensity.RandomContrast.Params, {"factor": [0.4, 2]}, "factor", (0.4, 2.0)),
        (intensity.RandomBrightness.Params, {"factor": 0.2}, "factor", (-0.2, 0.2)),
        (intensity.RandomBrightness.Params, {"factor": "2e-1"}, "factor", (-0.2, 0.2)),
        (intensity.RandomGamma.Params, {"gamma": (0.5, 2)}, "gamma", (0.5, 2.0)),
        (intensity.RandomPosterize.Params, {"bits": [2, 8]}, "bits", (2, 8)),
        (color.RandomHue.Params, {"delta": 0.1}, "delta", (-0.1, 0.1)),
        (quality.RandomSharpness.Params, {"factor": 2}, "factor", (0.0, 2.0)),
        (quality.RandomBlur.Params, {"filter_size": 3}, "filter_size", (3, 3)),
        (quality.RandomJpegQuality.Params, {"jpeg_quality": (30, 90)}, "jpeg_quality", (30, 90)),
        (geometry.RandomRotation.Params, {"factor": 1}, "factor", (-1.0, 1.0)),
        (geometry.RandomZoom.Params, {"width_factor": 0.2, "height_factor": None}, "height_factor", None),
        (geometry.RandomCrop.Params, {"crop_width": 0.5}, "crop_width", (0.5, 0.5)),
        (erasing.RandomRectangleErasing.Params, {"nrec": 2}, "nrec", (2, 2)),
        (geometry.RandomBoundedCrop.Params, {"width_factor": 1}, "width_factor", (1.0, 1.0)),
        (color.RandomColorJitter.Params, {"brightness": 0.2}, "brightness", (0.8, 1.2)),
        (color.RandomColorJitter.Params, {"brightness": 0.2}, "contrast", (1.0, 1.0)),
        (color.RandomColorJitter.Params, {"saturation": 1.5}, "saturation", (0.0, 2.5)),
        (color.RandomColorJitter.Params, {"contrast": [0.5, 0.5]}, "contrast", (0.5, 0.5)),
        (color.RandomColorJitter.Params, {"hue": 0.1}, "hue", (-0.1, 0.1)),
        (color.RandomColorJitter.Params, {"contrast": 0.1, "hue": 0}, "hue", (0.0, 0.0)),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": [0.5, 1]}, "image_sizes", (0.5, 1.0)),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": 0.5}, "image_sizes", (0.5, 0.5)),
        (
            quality.RandomPeriodicResizing.Params,
            {"image_sizes": [[64, 32], (128, 64)]},
            "image_sizes",
            ((64, 32), (128, 64)),
        ),
        (policies.RandAugment.Params, {"operations": ["rotate"]}, "operations", ("rotate",)),
    ],
)
def test_ranges_as_written(params, given, field, expected):
    assert getattr(params(**given), field) == expected


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        (intensity.RandomContrast.Params, {}, r"factor\s+Field required"),
        (intensity.RandomContrast.Params, {"factor": 0}, "must be greater than 0, got 0"),
        (intensity.RandomBrightness.Params, {"factor": (0.3, 0.3)}, r"greater than the first, got \(0.3, 0.3\)"),
        (intensity.RandomBrightness.Params, {"factor": (1, 2, 3)}, r"expected a number or a pair \(a, b\)"),
        (intensity.RandomBrightness.Params, {"factor": "much"}, r"expected a number or a pair.*'much'"),
        (intensity.RandomBrightness.Params, {"factor": True}, "truth value"),
        (intensity.RandomBrightness.Params, {"factor": float("nan")}, "must be greater than 0, got nan"),
        (intensity.RandomBrightness.Params, {"factor": 0.1, "change_rate": 1.5}, "less than or equal to 1"),
        (intensity.RandomGamma.Params, {"gamma": 2}, r"expected a pair \(a, b\) with b > a, got the single number 2"),
        (intensity.RandomGamma.Params, {"gamma": (0, 2)}, "greater than 0"),
        (intensity.RandomPosterize.Params, {"bits": (0, 4)}, "0 is out of range; allowed: at least 1 and at most 8"),
        (intensity.RandomPosterize.Params, {"bits": (1.5, 4)}, "valid integer"),
        (intensity.RandomAutocontrast.Params, {"cutoff": 50}, "less than 50"),
        (quality.RandomSharpness.Params, {"factor": (-1, 1)}, "at least 0"),
        (quality.RandomBlur.Params, {"filter_size": 0}, "at least 1"),
        (quality.RandomBlur.Params, {"filter_size": 3, "padding": "wrap"}, "'reflect', 'constant' or 'symmetric'"),
        (quality.RandomGaussianNoise.Params, {"stddev": (0.1, 0.2), "mode": "image"}, "mode"),
        (geometry.RandomFlip.Params, {"mode": "both"}, "'horizontal', 'vertical' or 'horizontal_and_vertical'"),
        (geometry.RandomTranslation.Params, {"width_factor": 0.1}, r"height_factor\s+Field required"),
        (
            geometry.RandomRotation.Params,
            {"factor": 0.1, "fill_mode": "mirror"},
            "'reflect', 'wrap', 'constant' or 'nearest'",
        ),
        (geometry.RandomRotation.Params, {"factor": 0.1, "fill_value": -2}, "greater than or equal to -1"),
        (geometry.RandomZoom.Params, {"width_factor": 1}, "allowed: greater than -1"),
        (geometry.RandomCrop.Params, {"crop_width": (0.5, 1)}, "allowed: greater than 0 and less than 1"),
        (geometry.RandomBoundedCrop.Params, {"width_factor": (0, 1)}, "allowed: greater than 0"),
        (geometry.RandomBoundedCrop.Params, {"height_factor": (0.5, 1.1)}, "allowed: at most 1"),
        (geometry.RandomPaddedCrop.Params, {"padding": 0}, "greater than or equal to 1"),
        (geometry.RandomPaddedCrop.Params, {"padding": 2.5}, "valid integer"),
        (color.RandomColorJitter.Params, {}, "nothing to do: give brightness"),
        (color.RandomColorJitter.Params, {"brightness": -0.1}, "must be at least 0, got -0.1"),
        (color.RandomColorJitter.Params, {"brightness": (-0.1, 1)}, "allowed: at least 0"),
        (color.RandomColorJitter.Params, {"contrast": (1.2, 1)}, "greater than the first"),
        (color.RandomColorJitter.Params, {"hue": 0.6}, "allowed: at least -0.5 and at most 0.5"),
        (quality.RandomPeriodicResizing.Params, {}, r"image_sizes\s+Field required"),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": (64, 32)}, "greater than the first"),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": (0.5, 1.5)}, "allowed: at most 1"),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": [[64, 0]]}, "greater than or equal to 1"),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": [[64, 32, 3]]}, "at most 2 items"),
        (quality.RandomPeriodicResizing.Params, {"image_sizes": 0.5, "period": 0}, "greater than or equal to 1"),
        (policies.RandAugment.Params, {"magnitude": 31}, "less than or equal to 30"),
        (policies.RandAugment.Params, {"num_ops": 0}, "greater than or equal to 1"),
        (policies.RandAugment.Params, {"operations": []}, "at least 1 item"),
        (policies.AugMix.Params, {"operations": ["cutout"]}, "'identity', 'autocontrast'"),
        (policies.AugMix.Params, {"alpha": 0}, "greater than or equal to 0.1"),
        (policies.AugMix.Params, {"severity": 11}, "less than or equal to 10"),
        (erasing.RandomRectangleErasing.Params, {"color": (1, 2, 3)}, "color is for fill_method 'uniform' only"),
        (
            erasing.RandomRectangleErasing.Params,
            {"fill_method": "uniform", "color": (1, 2, 256)},
            "less than or equal to 255",
        ),
    ],
)
def test_wrong_arguments_are_named(params, given, message):
    with pytest.raises(ValidationError, match=message):
        params(**given)


def test_defaults_are_the_documented_ones():
    assert geometry.RandomFlip.Params(mode="vertical").change_rate == 0.5
    assert intensity.RandomInvert.Params().change_rate == 0.25
    crop = geometry.RandomCrop.Params().model_dump()
    assert crop == {
        "change_rate": 0.9,
        "crop_center_x": (0.25, 0.75),
        "crop_center_y": (0.25, 0.75),
        "crop_width": (0.6, 0.9),
        "crop_height": (0.6, 0.9),
        "interpolation": "bilinear",
    }
    rotation = geometry.RandomRotation.Params(factor=0.1)
    assert (rotation.fill_mode, rotation.interpolation, rotation.fill_value) == ("reflect", "bilinear", 0.0)
    erased = erasing.RandomRectangleErasing.Params()
    assert (erased.nrec, erased.area, erased.wh_ratio, erased.fill_method) == (
        (0, 3),
        (0.05, 0.2),
        (0.2, 1.5),
        "random",
    )
    kept = geometry.RandomBoundedCrop.Params()
    assert (kept.width_factor, kept.height_factor, kept.interpolation) == ((0.25, 1.0), (0.25, 1.0), "bilinear")
    padded = geometry.RandomPaddedCrop.Params()
    assert (padded.padding, padded.fill_mode, padded.fill_value, padded.change_rate) == (10, "constant", None, 1.0)
    assert quality.RandomPeriodicResizing.Params(image_sizes=0.5).period == 10
    rand_augment = policies.RandAugment.Params()
    assert (rand_augment.num_ops, rand_augment.magnitude, len(rand_augment.operations)) == (2, 9, 14)
    mixed = policies.AugMix.Params()
    assert (mixed.width, mixed.depth, mixed.alpha, mixed.severity) == (3, -1, 1.0, 3)


def test_defaults_reach_the_layer(images):
    component = FUNCTIONS["random_rectangle_erasing"].load()()

    layer = component.build_augmentation(PixelRange(0.0, 1.0), 1)

    assert not np.array_equal(layer.apply(images, (1, 2)), images)
