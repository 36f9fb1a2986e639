"""The components keep the contracts of their kinds."""

from reidfw_core.testing import contract_suite

TestContract = contract_suite(
    "reidfw-augmentations",
    params={
        "random_blur": {"filter_size": 3},
        "random_color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
        "random_periodic_resizing": {"image_sizes": [0.5, 1.0]},
        "random_brightness": {"factor": 0.2},
        "random_contrast": {"factor": 0.4},
        "random_flip": {"mode": "horizontal"},
        "random_gamma": {"gamma": [0.7, 1.4]},
        "random_gamma_adjust": {"gamma": [0.7, 1.4]},
        "random_gaussian_noise": {"stddev": [0.01, 0.05]},
        "random_hsv": {"hue_delta": 0.1, "saturation_delta": 0.2, "value_delta": 0.1},
        "random_hue": {"delta": 0.1},
        "random_jpeg_quality": {"jpeg_quality": [60, 95]},
        "random_posterize": {"bits": [4, 7]},
        "random_rotation": {"factor": 0.05},
        "random_saturation": {"delta": 0.2},
        "random_sharpness": {"factor": 2},
        "random_shear": {"factor": 0.1},
        "random_shear_x": {"factor": 0.1},
        "random_shear_y": {"factor": 0.1},
        "random_translation": {"width_factor": 0.1, "height_factor": 0.1},
        "random_value": {"delta": 0.1},
        "random_zoom": {"width_factor": 0.2},
    },
)
