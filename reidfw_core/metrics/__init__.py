"""Retrieval and verification scores of embeddings; NumPy only, but for packages imported on use."""

from reidfw_core.metrics.bootstrap import Interval, bootstrap_intervals, rank_resolution
from reidfw_core.metrics.breakdown import GroupScores, breakdown
from reidfw_core.metrics.distances import METRICS, chunked_distances, unit_length
from reidfw_core.metrics.fidelity import FidelityScores, WorstImage, embedding_fidelity
from reidfw_core.metrics.nearest import nearest_gallery
from reidfw_core.metrics.pooling import PooledQueries, pool_queries
from reidfw_core.metrics.projection import PROJECTIONS, project_embeddings
from reidfw_core.metrics.protocols import JUNK_IDENTITY, PROTOCOLS
from reidfw_core.metrics.ranking import ENGINES
from reidfw_core.metrics.reranking import rerank
from reidfw_core.metrics.retrieval import RetrievalScores, average_precision, evaluate_distances, evaluate_retrieval
from reidfw_core.metrics.verification import DistanceHistogram, ThresholdScores, best_threshold

__all__ = [
    "ENGINES",
    "JUNK_IDENTITY",
    "METRICS",
    "PROJECTIONS",
    "PROTOCOLS",
    "DistanceHistogram",
    "FidelityScores",
    "GroupScores",
    "Interval",
    "PooledQueries",
    "RetrievalScores",
    "ThresholdScores",
    "WorstImage",
    "average_precision",
    "best_threshold",
    "bootstrap_intervals",
    "breakdown",
    "chunked_distances",
    "embedding_fidelity",
    "evaluate_distances",
    "evaluate_retrieval",
    "nearest_gallery",
    "pool_queries",
    "project_embeddings",
    "rank_resolution",
    "rerank",
    "unit_length",
]
