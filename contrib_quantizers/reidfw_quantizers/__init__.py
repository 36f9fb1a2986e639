"""Quantizers of reidfw: ``TFlite_converter`` and ``onnx_quantizer``."""
