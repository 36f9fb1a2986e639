"""The C headers with what the application must know: sizes, thresholds, limits.

Source: the constants that ST's STM32N6 re-identification application and its STM32H7 vision applications read.
"""

from __future__ import annotations

from reidfw_core.api import ApplicationSettings
from reidfw_targets.model_io import ModelIo

APP_CONFIG = "app_config.h"
"""Header of the STM32N6 application."""

AI_MODEL_CONFIG = "ai_model_config.h"
"""Header of applications on other STM32 boards."""

_ASPECT_RATIO_MODES = {"fit": 1, "crop": 2, "padding": 3, "full_screen": 2}
_COLOR_MODES = {"rgb": 1, "rgba": 1, "bgr": 2, "grayscale": 3}
_NUMBER_TYPES = {"uint8": 1, "int8": 2, "float32": 3}
_CAMERAS = {"CAMERA_INTERFACE_DCMI": 1, "CAMERA_INTERFACE_USB": 2, "CAMERA_INTERFACE_SPI": 3}
_DISPLAYS = {"DISPLAY_INTERFACE_USB": 1, "DISPLAY_INTERFACE_SPI": 2}


def app_config(io: ModelIo, app: ApplicationSettings, model_name: str, *, two_line_welcome: bool) -> str:
    """``app_config.h`` of the STM32N6 application.

    Args:
        io: the model's input and output.
        app: limits and threshold.
        model_name: file name of the model, shown on the screen of the board.
        two_line_welcome: the second welcome message is an array of two lines.
    """
    height, width, _ = io.image.shape
    second = (
        '{"Model Running in STM32", "MCU internal memory"}'
        if two_line_welcome
        else ('"Model Running in STM32 MCU internal memory"')
    )
    lines = [
        *_opening("APP_CONFIG_H", app),
        '#include "arm_math.h"',
        '#include "app_od.h"',
        "",
        "#define USE_DCACHE",
        "#define CAMERA_FLIP CMW_MIRRORFLIP_NONE",
        "",
        "/* Input and output of the network */",
        f"#define NN_REID_WIDTH ({width})",
        f"#define NN_REID_HEIGHT ({height})",
        f"#define NN_REID_NB_FEATURES ({io.embedding_dim})",
        "",
        *_application(app),
        "",
        "/* Shown when the application starts */",
        f"#define WELCOME_MSG_1 {c_string(model_name)}",
        f"#define WELCOME_MSG_2 {second}",
        *_closing("APP_CONFIG_H"),
    ]
    return "\n".join(lines) + "\n"


def ai_model_config(
    io: ModelIo, app: ApplicationSettings, model_name: str, *, camera: str | None = None, display: str | None = None
) -> str:
    """``ai_model_config.h`` for a C project of the user's own.

    ST's names where ST's vision applications have them. There are no classes: a ReID model gives an embedding.

    Args:
        io: the model's input and output.
        app: limits and threshold; how images are made is taken from it too.
        model_name: file name of the model.
        camera, display: interfaces as in ``hardware_setup.input`` and ``output``, None to leave them out.
    """
    height, width, channels = io.image.shape
    output = io.output_numbers
    interfaces = [
        f"#define {name} ({codes[value]})"
        for name, codes, value in (("CAMERA_INTERFACE", _CAMERAS, camera), ("DISPLAY_INTERFACE", _DISPLAYS, display))
        if value is not None
    ]
    lines = [
        *_opening("AI_MODEL_CONFIG_H", app),
        f"#define REID_MODEL_NAME {c_string(model_name)}",
        "",
        "/* Input */",
        f"#define INPUT_HEIGHT ({height})",
        f"#define INPUT_WIDTH ({width})",
        f"#define INPUT_CHANNELS ({channels})",
        "/* FIT: 1, CROP: 2, PADDING: 3 */",
        f"#define ASPECT_RATIO_MODE ({_ASPECT_RATIO_MODES[app.aspect_ratio]})",
        "/* RGB: 1, BGR: 2, GRAYSCALE: 3 */",
        f"#define PP_COLOR_MODE ({_COLOR_MODES[app.color_mode]})",
        "/* UINT8: 1, INT8: 2, FLOAT32: 3 */",
        f"#define QUANT_INPUT_TYPE ({_NUMBER_TYPES[io.input_numbers.dtype.name]})",
        f"#define QUANT_OUTPUT_TYPE ({_NUMBER_TYPES[output.dtype.name]})",
        "",
        "/* Embedding: real = REID_OUTPUT_SCALE * (integer - REID_OUTPUT_ZERO_POINT) where it is an integer */",
        f"#define REID_EMBEDDING_SIZE ({io.embedding_dim})",
        f"#define REID_OUTPUT_SCALE ({output.scale or 1.0:.9e}f)",
        f"#define REID_OUTPUT_ZERO_POINT ({output.zero_point})",
        "",
        *_application(app),
        *(["", "/* Camera DCMI: 1, USB: 2, SPI: 3; display USB: 1, SPI: 2 */", *interfaces] if interfaces else []),
        *_closing("AI_MODEL_CONFIG_H"),
    ]
    return "\n".join(lines) + "\n"


def interface_faults(camera: str | None, display: str | None) -> list[str]:
    """What is wrong with ``hardware_setup.input`` and ``output`` of a NUCLEO-H743ZI2; empty for nothing."""
    faults = []
    if camera is not None and camera not in _CAMERAS:
        faults.append(f"input: '{camera}' is not known; known are {', '.join(_CAMERAS)}")
    if display is not None and display not in _DISPLAYS:
        faults.append(f"output: '{display}' is not known; known are {', '.join(_DISPLAYS)}")
    if (camera, display) == ("CAMERA_INTERFACE_USB", "DISPLAY_INTERFACE_USB"):
        faults.append("input and output cannot both be USB")
    return faults


def c_string(text: str) -> str:
    """A C string literal; characters outside of ASCII become ``?``, as the boards' fonts have no others."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("??", '?""?')  # no trigraphs
    return f'"{escaped}"'


def _application(app: ApplicationSettings) -> list[str]:
    return [
        "/* People kept from the detector, identities tracked, largest cosine distance of the same identity, absence",
        "   in ms after which one is forgotten, detector confidence that opens a new one */",
        f"#define APP_MAX_OBJECT_DETECT ({app.max_object_detect})",
        f"#define APP_MAX_OBJECT_TRACKING ({app.max_object_tracking})",
        f"#define APP_SCORE_THRESHOLD ({app.score_threshold:.8f}f)",
        f"#define APP_LOST_TIME_IN_MS ({app.lost_time_in_ms})",
        f"#define APP_START_TRACKING_CONF_THRESHOLD ({app.start_tracking_conf_threshold:.6f}f)",
    ]


def _opening(guard: str, app: ApplicationSettings) -> list[str]:
    origin = app.threshold_origin.replace("*/", "* /")
    return [
        "/* Generated by reidfw; each deployment writes it anew.",
        f"   Threshold from: {origin} */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
    ]


def _closing(guard: str) -> list[str]:
    return ["", f"#endif /* {guard} */"]
