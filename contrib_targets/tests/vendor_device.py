"""An installation of ST Edge AI Core for evaluation on a device, as the tests write it."""

from __future__ import annotations

import json
from pathlib import Path

from .vendor_tool import write_program

_STEDGEAI = """
import json, pathlib, shutil, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:] + [str(pathlib.Path.cwd())]) + "\\n")
args = sys.argv[1:]
if args == ["--version"]:
    print("ST Edge AI Core v3.0.0-20426 123456789")
    sys.exit(0)
model = args[args.index("--model") + 1]
exec({fault!r})
if "--dll" in args:
    pathlib.Path("st_ai_ws").mkdir(exist_ok=True)
    shutil.copyfile(model, "st_ai_ws/libai_network.so")
elif args[0] == "generate":
    pathlib.Path("st_ai_output").mkdir(exist_ok=True)
    pathlib.Path("st_ai_output/network.c").write_text("// network")
print("done")
"""

_LOADER = """
import json, pathlib, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps([sys.argv[0], *sys.argv[1:], str(pathlib.Path.cwd())]) + "\\n")
assert pathlib.Path("st_ai_output/network.c").is_file(), "nothing to load"
exec({fault!r})
print("Start operation achieved successfully")
"""

_PACKAGE = """
class AiRunner:
    '''Runs the "library", a TensorFlow Lite file, as ST's package runs its own.'''
    def get_error(self):
        return "unable to load the model"
    def connect(self, desc):
        import glob
        from ai_edge_litert.interpreter import Interpreter
        print("a line that must not disturb the answers")
        exec({fault!r})
        found = glob.glob(desc + "/libai_*")
        if not found:
            return False
        self.model = Interpreter(found[0])
        self.model.allocate_tensors()
        return True
    def get_info(self, name=None):
        def tell(one):
            return dict(name=one["name"], shape=tuple(one["shape"]), type=one["dtype"],
                        scale=one["quantization"][0], zero_point=one["quantization"][1])
        return dict(inputs=[tell(one) for one in self.model.get_input_details()],
                    outputs=[tell(one) for one in self.model.get_output_details()],
                    runtime=dict(tools_version=(3, 0, 0)))
    def invoke(self, inputs):
        exec({in_invoke!r})
        self.model.set_tensor(self.model.get_input_details()[0]["index"], inputs[0])
        self.model.invoke()
        return [self.model.get_tensor(self.model.get_output_details()[0]["index"])], {{}}
    def disconnect(self):
        pass
"""


def write_installation(
    root: Path, *, generate: str = "pass", load: str = "pass", connect: str = "pass", invoke: str = "pass"
) -> Path:
    """Writes it and returns the executable; the arguments are faults, Python run in the middle of the work."""
    folder = root / "STEdgeAI" / "3.0"
    calls = str(root / "device_calls.jsonl")
    executable = write_program(
        folder / "Utilities" / "linux" / "stedgeai", _STEDGEAI.format(calls=calls, fault=generate)
    )
    scripts = folder / "scripts" / "N6_scripts"
    scripts.mkdir(parents=True)
    for loader, settings in (("n6_loader.py", "config_n6l.json"), ("h7p_loader.py", "config_h7p.json")):
        (scripts / loader).write_text(_LOADER.format(calls=calls, fault=load))
        (scripts / settings).write_text("{}")
    (scripts / "user_neuralart.json").write_text("{}")
    package = folder / "scripts" / "ai_runner" / "stm_ai_runner"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_PACKAGE.format(fault=connect, in_invoke=invoke))
    return executable


def device_calls(root: Path) -> list[list[str]]:
    """The command lines so far; the last entry of each is the folder it ran in."""
    path = root / "device_calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
