"""The steps that chains are made of: what each needs, gives, and asks of its component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reidfw_core.artifacts import (
    CalibrationData,
    FidelityReport,
    FineTunedModel,
    PredictionData,
    PredictionReport,
    QuantizedModel,
    RetrievalData,
    RetrievalReport,
    TrainedModel,
    TrainingData,
)
from reidfw_core.services import comparison, deployment, evaluation, fine_tuning, prediction, quantization, training
from reidfw_core.types import BenchmarkReport, DeploymentReport, ModelFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One kind of step.

    Attributes:
        name: what plans and chains call it.
        title: what people read.
        service: the function that does the work.
        input_type: its input dataclass; fields of an artifact type are filled from sources and earlier steps, all
            others from the configuration, by their names.
        gives: type of its result.
        component: the field of the bound components that it works through, None for none.
        hook: the hook which that component must implement.
        model_of: the model in its result that later steps use, None where it makes none.
        metrics_of: the numbers in its result for trackers.
        labels_of: the texts in its result for trackers.
    """

    name: str
    title: str
    service: Callable[[Any, Any], Any]
    input_type: type
    gives: type
    component: str | None = None
    hook: str | None = None
    model_of: Callable[[Any], ModelFile | None] = lambda _: None
    metrics_of: Callable[[Any], Mapping[str, float]] = lambda _: {}
    labels_of: Callable[[Any], Mapping[str, str]] = lambda _: {}


ARTIFACTS: tuple[type, ...] = (
    TrainingData,
    RetrievalData,
    CalibrationData,
    PredictionData,
    ModelFile,
    FineTunedModel,
    QuantizedModel,
)
"""Types that a step gets from data sources or earlier steps."""

STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(
            name="train",
            title="Training",
            service=training.train,
            input_type=training.TrainInput,
            gives=TrainedModel,
            model_of=lambda result: result.embedding_model,
            metrics_of=training.training_metrics,
        ),
        Step(
            name="evaluate",
            title="Evaluation",
            service=evaluation.evaluate,
            input_type=evaluation.EvaluateInput,
            gives=RetrievalReport,
            component="evaluation_target",
            hook="open_runner",
            metrics_of=evaluation.retrieval_metrics,
        ),
        Step(
            name="fine_tune",
            title="Quantization-aware training",
            service=fine_tuning.fine_tune,
            input_type=fine_tuning.FineTuneInput,
            gives=FineTunedModel,
            component="quantizer",
            hook="prepare_training",
            model_of=lambda result: result.model,
            metrics_of=fine_tuning.fine_tuning_metrics,
        ),
        Step(
            name="quantize",
            title="Quantization",
            service=quantization.quantize,
            input_type=quantization.QuantizeInput,
            gives=QuantizedModel,
            component="quantizer",
            hook="quantize_model",
            model_of=lambda result: result.model,
        ),
        Step(
            name="compare",
            title="Comparison of float and quantized model",
            service=comparison.compare,
            input_type=comparison.CompareInput,
            gives=FidelityReport,
            component="comparison_target",
            hook="open_runner",
            metrics_of=comparison.fidelity_metrics,
        ),
        Step(
            name="predict",
            title="Prediction",
            service=prediction.predict,
            input_type=prediction.PredictInput,
            gives=PredictionReport,
            component="prediction_target",
            hook="open_runner",
        ),
        Step(
            name="benchmark",
            title="Benchmarking",
            service=deployment.benchmark,
            input_type=deployment.BenchmarkInput,
            gives=BenchmarkReport,
            component="benchmark_target",
            hook="benchmark_model",
            metrics_of=deployment.benchmark_metrics,
            labels_of=deployment.benchmark_labels,
        ),
        Step(
            name="deploy",
            title="Deployment",
            service=deployment.deploy,
            input_type=deployment.DeployInput,
            gives=DeploymentReport,
            component="deployment_target",
            hook="deploy_model",
        ),
    )
}
