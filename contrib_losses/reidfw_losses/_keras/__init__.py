"""The losses as Keras objects. Importing anything in here imports TensorFlow."""
