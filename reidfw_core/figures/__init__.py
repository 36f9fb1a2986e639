"""Pictures of results, as files; drawn without pyplot, so that nothing global changes and no display is needed."""

from reidfw_core.figures.distance_histogram import draw_distance_histogram
from reidfw_core.figures.embedding_map import draw_embedding_map
from reidfw_core.figures.fidelity import draw_fidelity, draw_layer_errors
from reidfw_core.figures.rank_curve import RankCurve, draw_rank_curve, draw_rank_curves
from reidfw_core.figures.retrieval_sheet import SheetNeighbour, SheetRow, SheetSection, draw_retrieval_sheet
from reidfw_core.figures.roc_curve import RocCurve, draw_roc_curve
from reidfw_core.figures.training_curves import draw_training_curves

__all__ = [
    "RankCurve",
    "RocCurve",
    "SheetNeighbour",
    "SheetRow",
    "SheetSection",
    "draw_distance_histogram",
    "draw_embedding_map",
    "draw_fidelity",
    "draw_layer_errors",
    "draw_rank_curve",
    "draw_rank_curves",
    "draw_retrieval_sheet",
    "draw_roc_curve",
    "draw_training_curves",
]
