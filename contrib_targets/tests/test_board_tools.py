"""Board tools are found through their entry points, each by its name, with its options checked."""

from importlib.metadata import EntryPoint

import pytest
from pydantic import Field
from reidfw_targets import board_tools
from reidfw_targets.board_tools import BoardTool, ToolSettings, load_tool, make_tool
from reidfw_targets.facts import BOARDS

from reidfw_core.api import BenchmarkReport, ComponentParams, ToolNotFound


class Stopwatch(BoardTool):
    """A third party's tool."""

    name = "acme.stopwatch"

    class Params(ComponentParams):
        """Options."""

        repeats: int = Field(3, ge=1, description="How often")

    def find(self, board):
        return f"stopwatch for {board.name}"

    def benchmark(self, board, model, workdir):
        return BenchmarkReport(inference_ms=1.0, tool=self.name)


@pytest.fixture
def installed(monkeypatch):
    entries = {
        "acme.stopwatch": EntryPoint("acme.stopwatch", f"{__name__}:Stopwatch", board_tools.GROUP),
        "acme.broken": EntryPoint("acme.broken", "no_such_module:Tool", board_tools.GROUP),
        "acme.other": EntryPoint("acme.other", "pathlib:Path", board_tools.GROUP),
    }
    monkeypatch.setattr(board_tools, "tool_entries", lambda: entries)


@pytest.mark.usefixtures("installed")
def test_a_tool_of_another_distribution():
    tool = make_tool("acme.stopwatch", ToolSettings(), {"repeats": 5})
    assert tool.params.repeats == 5
    assert tool.find(BOARDS["NUCLEO-F401RE"]) == "stopwatch for NUCLEO-F401RE"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme.stopwach", "did you mean 'acme.stopwatch'"),
        ("acme.broken", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("acme.other", "is no subclass of"),
    ],
)
def test_a_tool_that_is_not_there(name, message):
    with pytest.raises(ToolNotFound, match=message):
        load_tool(name)


@pytest.mark.usefixtures("installed")
def test_options_are_checked():
    with pytest.raises(ValueError, match=r"tool_options of 'acme.stopwatch': repeats: .*greater than or equal to 1"):
        make_tool("acme.stopwatch", ToolSettings(), {"repeats": 0})
