"""Pictures of results, as files; drawn without pyplot, so that nothing global changes and no display is needed."""

from reidfw_core.figures.distance_histogram import draw_distance_histogram
from reidfw_core.figures.rank_curve import draw_rank_curve
from reidfw_core.figures.training_curves import draw_training_curves

__all__ = ["draw_distance_histogram", "draw_rank_curve", "draw_training_curves"]
