"""Code that needs Keras; imported inside the hook only."""
