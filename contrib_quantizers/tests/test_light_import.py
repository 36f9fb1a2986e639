"""Naming a quantizer, its parameters and formats must not load a framework."""

import subprocess
import sys


def test_entry_points_import_no_framework():
    code = (
        "import sys, reidfw_quantizers.tflite as t, reidfw_quantizers.onnx_qdq as o;"
        "t.TfliteConverter(); o.OnnxQuantizer();"
        "print(sorted({'tensorflow', 'keras', 'onnx', 'onnxruntime', 'tf2onnx', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
