"""Code that needs ONNX Runtime; imported inside the hook only."""
