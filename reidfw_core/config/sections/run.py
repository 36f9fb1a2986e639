"""The whole configuration."""

from __future__ import annotations

from pydantic import Field

from reidfw_core.config.modes import OperationMode
from reidfw_core.config.sections.base import Section
from reidfw_core.config.sections.boards import AppSection, BenchmarkingSection, DeploymentSection
from reidfw_core.config.sections.dataset import DatasetSection
from reidfw_core.config.sections.evaluation import EvaluationSection, PredictionSection
from reidfw_core.config.sections.general import GeneralSection
from reidfw_core.config.sections.model import ModelSection
from reidfw_core.config.sections.preprocessing import (
    CustomDataAugmentationSection,
    DataAugmentationSection,
    PreprocessingSection,
)
from reidfw_core.config.sections.quantization import QuantizationSection
from reidfw_core.config.sections.tools import ToolsSection
from reidfw_core.config.sections.tracking import HydraSection, ListenerItem, MlflowSection
from reidfw_core.config.sections.training import TrainingSection


class RunConfig(Section):
    """All sections that the operation mode reads; the others are None, whatever the file says.

    Source: the user's document, sections 2.1 to 2.11.
    """

    operation_mode: OperationMode
    """What to run. Letters of a chain: t trains, q quantizes, e evaluates, b benchmarks, d deploys. Required."""
    general: GeneralSection = Field(default_factory=GeneralSection)
    """Global settings."""
    model: ModelSection
    """The model."""
    dataset: DatasetSection = Field(default_factory=DatasetSection)
    """The images."""
    preprocessing: PreprocessingSection | None = None
    """Resizing and rescaling."""
    data_augmentation: DataAugmentationSection | None = None
    """Changes of training images at random."""
    custom_data_augmentation: CustomDataAugmentationSection | None = None
    """A function of the user's own that changes training images."""
    training: TrainingSection | None = None
    """How the model is trained."""
    quantization: QuantizationSection | None = None
    """How it is quantized."""
    evaluation: EvaluationSection | None = None
    """How its accuracy is measured."""
    prediction: PredictionSection | None = None
    """How identities are predicted."""
    tools: ToolsSection | None = None
    """External tools."""
    benchmarking: BenchmarkingSection | None = None
    """Where it is benchmarked."""
    deployment: DeploymentSection | None = None
    """Where it is deployed."""
    app: AppSection | None = None
    """Settings of the deployed application."""
    mlflow: MlflowSection = Field(default_factory=MlflowSection)
    """Experiment tracking."""
    hydra: HydraSection = Field(default_factory=HydraSection)
    """Run directory."""
    listeners: tuple[ListenerItem, ...] = ()
    """Further components that follow the run."""
