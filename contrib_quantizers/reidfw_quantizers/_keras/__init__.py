"""Code that needs Keras; imported inside the hooks only."""
