"""Code that needs TensorFlow Lite; imported inside the hook only."""
