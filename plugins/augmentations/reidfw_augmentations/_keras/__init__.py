"""The Keras layers behind the components; importing a module of this package imports TensorFlow."""
