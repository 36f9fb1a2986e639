"""Retrieval and verification scores of embeddings; NumPy only."""

from reidfw_core.metrics.distances import METRICS, chunked_distances
from reidfw_core.metrics.retrieval import PROTOCOLS, RetrievalScores, average_precision, evaluate_retrieval
from reidfw_core.metrics.verification import DistanceHistogram, ThresholdScores, best_threshold

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "DistanceHistogram",
    "RetrievalScores",
    "ThresholdScores",
    "average_precision",
    "best_threshold",
    "chunked_distances",
    "evaluate_retrieval",
]
