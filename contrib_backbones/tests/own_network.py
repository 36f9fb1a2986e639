"""Networks of a user's own, for the tests of the backbone ``custom``."""

import keras


def three_blocks(input_shape, seed=0):
    image = keras.Input(input_shape)
    x = image
    for block, channels in enumerate((16, 32, 64)):
        initial = keras.initializers.HeNormal(seed=seed + block)
        x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer=initial)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    return keras.Model(image, x)


def wrong_size(input_shape):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Flatten()(image))


def no_model(input_shape):
    return "a model"


def fails(input_shape):
    raise RuntimeError("out of ideas")


def flat(input_shape):
    image = keras.Input(input_shape)
    return keras.Model(image, keras.layers.Reshape((-1, 3))(image))


def no_input(input_shape):
    return keras.Sequential([keras.layers.Conv2D(4, 3)])


class OwnCall(keras.Model):
    def call(self, image):
        return image


def own_call(input_shape):
    return OwnCall()
