"""Code that needs ONNX; imported inside the hook only."""
