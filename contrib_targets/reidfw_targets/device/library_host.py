"""A process of its own that runs ST's library for this computer with ST's own Python package.

The package ``stm_ai_runner`` comes with each installation of ST Edge AI Core and knows the library of that version. It
runs apart from us: a crash of the library, and what it prints, stay there.

Usage: ``python library_host.py FOLDER_OF_PACKAGE WORKSPACE``; then, on standard input, the bytes of one input after the
other. Each answer is a JSON line; with ``bytes`` in it, that many bytes follow.
"""

import json
import os
import sys
from typing import Any


def _describe(tensor: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    scale, zero_point = tensor.get("scale"), tensor.get("zero_point")
    return {
        "name": str(tensor["name"]),
        "shape": [int(size) for size in tensor["shape"]],
        "dtype": np.dtype(tensor["type"]).str,
        "scale": float(np.ravel(0.0 if scale is None else scale)[0]),
        "zero_point": int(np.ravel(0 if zero_point is None else zero_point)[0]),
    }


def main(package: str, workspace: str) -> int:
    """Serves until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the package prints must not mix with the answers

    def tell(content: dict[str, Any], data: bytes = b"") -> None:
        answers.write(json.dumps(content).encode() + b"\n" + data)
        answers.flush()

    sys.path.insert(0, package)
    try:
        import numpy as np
        from stm_ai_runner import AiRunner

        runner = AiRunner()
        if not runner.connect(workspace):
            raise RuntimeError(runner.get_error() or f"no library in {workspace}")
        info = runner.get_info()
        inputs, outputs = [[_describe(one) for one in info[side]] for side in ("inputs", "outputs")]
    except Exception as fault:  # whatever ST's package raises is the answer
        tell({"error": f"{type(fault).__name__}: {fault}"})
        return 1
    version = ".".join(str(part) for part in info.get("runtime", {}).get("tools_version", ()))
    tell({"inputs": inputs, "outputs": outputs, "tool_version": version})
    shape, dtype = inputs[0]["shape"], np.dtype(inputs[0]["dtype"])
    size = int(np.prod(shape)) * dtype.itemsize
    while len(image := sys.stdin.buffer.read(size)) == size:
        try:
            found, _ = runner.invoke([np.frombuffer(image, dtype).reshape(shape)])
            data = np.ascontiguousarray(found[0]).tobytes()
        except Exception as fault:
            tell({"error": f"{type(fault).__name__}: {fault}"})
            return 1
        tell({"bytes": len(data)}, data)
    runner.disconnect()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
