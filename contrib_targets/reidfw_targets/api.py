"""What other distributions need to add a board or a board tool (kept stable under semantic versioning)."""

from reidfw_targets.board_tools import BoardTool, ToolSettings
from reidfw_targets.boards import Stm32Board
from reidfw_targets.facts import BoardFacts, MemoryRegion

__all__ = ["BoardFacts", "BoardTool", "MemoryRegion", "Stm32Board", "ToolSettings"]
