"""One pydantic model for each section of the YAML."""

from reidfw_core.config.sections.base import AsWritten, NamesFile, OpenSection, Section
from reidfw_core.config.sections.boards import AppSection, BenchmarkingSection, DeploymentSection, HardwareSetup
from reidfw_core.config.sections.dataset import DatasetSection
from reidfw_core.config.sections.evaluation import EvaluationSection, PredictionSection, Rerank
from reidfw_core.config.sections.general import GeneralSection
from reidfw_core.config.sections.model import ModelSection
from reidfw_core.config.sections.preprocessing import (
    CustomDataAugmentationSection,
    DataAugmentationSection,
    PreprocessingSection,
    Rescaling,
    Resizing,
)
from reidfw_core.config.sections.quantization import QatSettings, QuantizationSection
from reidfw_core.config.sections.run import RunConfig
from reidfw_core.config.sections.tools import StEdgeAiTool, ToolsSection
from reidfw_core.config.sections.tracking import HydraRun, HydraSection, ListenerItem, MlflowSection
from reidfw_core.config.sections.training import CROSS_ENTROPY, LossItem, Optimizer, TrainingSection, TripletLoss

__all__ = [
    "CROSS_ENTROPY",
    "AppSection",
    "AsWritten",
    "BenchmarkingSection",
    "CustomDataAugmentationSection",
    "DataAugmentationSection",
    "DatasetSection",
    "DeploymentSection",
    "EvaluationSection",
    "GeneralSection",
    "HardwareSetup",
    "HydraRun",
    "HydraSection",
    "ListenerItem",
    "LossItem",
    "MlflowSection",
    "ModelSection",
    "NamesFile",
    "OpenSection",
    "Optimizer",
    "PredictionSection",
    "PreprocessingSection",
    "QatSettings",
    "QuantizationSection",
    "Rerank",
    "Rescaling",
    "Resizing",
    "RunConfig",
    "Section",
    "StEdgeAiTool",
    "ToolsSection",
    "TrainingSection",
    "TripletLoss",
]
