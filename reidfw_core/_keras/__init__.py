"""The part of the core that imports Keras and TensorFlow; imported by services when a step needs it."""
