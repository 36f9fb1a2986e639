"""A backbone small enough to read at a glance."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from reidfw_core.api import Backbone, ComponentParams, DataError, PixelRange, hookimpl


class TinyConv(Backbone):
    """Three strided convolutions: a network for smoke tests, not a published one.

    The image (B, H, W, C) float32 becomes a feature map (B, H / 8, W / 8, 4 * width) float32.
    """

    expects = PixelRange(-1.0, 1.0)
    min_input_px = 8

    class Params(ComponentParams):
        """What a user may write beside ``model.model_name``."""

        width: int = Field(16, ge=4, le=256, description="Channels of the first convolution")

    @hookimpl
    def build_backbone(self, input_shape: tuple[int, int, int], pretrained: object, seed: int) -> Any:
        """Builds the network up to and without pooling.

        Raises:
            DataError: pretrained weights are asked for; there are none.
        """
        if pretrained is not False:
            raise DataError("template.tiny_conv has no pretrained weights", hint="Set model.pretrained: False.")
        import keras

        image = features = keras.Input(input_shape)
        for number, factor in enumerate((1, 2, 4)):
            features = keras.layers.Conv2D(
                self.params.width * factor,
                kernel_size=3,
                strides=2,
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.HeNormal(seed=seed + number),
            )(features)
        return keras.Model(image, features, name="tiny_conv")
