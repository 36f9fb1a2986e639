"""From a quantized model to a running board: C header, generated code, build, signature, flash."""
