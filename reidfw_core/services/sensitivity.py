"""Which layers lose recognition when they are quantized, and leaving the worst of them at a higher precision.

Source: H. Wu et al., Integer Quantization for Deep Learning Inference, 2020 (arXiv 2004.09602), section 5: layers are
ranked by what quantizing each of them alone costs, and the worst ones are left out one after the other. Here the
ranking is by the error of the embeddings on few images; how many layers must be left out is found by doubling and
bisection.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reidfw_core.artifacts import LayerCost, PrecisionSearch, PrecisionTrial, QuantizedModel, RetrievalData
from reidfw_core.context import RunContext
from reidfw_core.errors import DataError
from reidfw_core.imaging.decoding import image_batches
from reidfw_core.imaging.spec import image_spec
from reidfw_core.services.embedding import embed_samples, runner_threads
from reidfw_core.services.scoring import score_retrieval
from reidfw_core.types import EmbeddingRunner, ModelFile, ModelVariants, Samples

if TYPE_CHECKING:
    from reidfw_core.config.binding import BoundComponent
    from reidfw_core.config.sections import EvaluationSection, GeneralSection, PreprocessingSection

logger = logging.getLogger(__name__)

RANKING_IMAGES = 8
"""Images for the ranking of layers: each of them goes through as many models as there are layers."""

CHANCE = 0.1
"""Points of mAP that no layer is kept for: less moves where a single pair of images changes places."""

WORST_SHOWN = 3

NAMED = 12
"""Layers that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How variants of a model are made and looked at.

    Attributes:
        quantizer: makes the variants.
        target: runs them.
        preprocessing, general: sections.
    """

    quantizer: BoundComponent
    target: BoundComponent
    preprocessing: PreprocessingSection
    general: GeneralSection

    @contextmanager
    def opened(self, model: ModelFile, ctx: RunContext) -> Iterator[EmbeddingRunner]:
        """The model on the target, for the length of the block."""
        runner: EmbeddingRunner = ctx.bus.ask(
            self.target.component,
            "open_runner",
            model=model,
            num_threads=runner_threads(self.general.num_threads_tflite),
            workdir=ctx.board_files_dir,
            progress=ctx.progress,
        )
        try:
            yield runner
        finally:
            runner.close()

    def variants(self, pair: QuantizedModel, ctx: RunContext) -> ModelVariants:
        """The quantized model, opened to leave layers at a higher precision."""
        found: ModelVariants = ctx.bus.ask(
            self.quantizer.component,
            "open_variants",
            float_model=pair.source,
            quantized_model=pair.model,
            workdir=ctx.run_dir,
        )
        return found


def measure_costs(
    pair: QuantizedModel, variants: ModelVariants, samples: Samples, probe: Probe, ctx: RunContext
) -> tuple[LayerCost, ...]:
    """What each layer costs when it alone is quantized, the most expensive first.

    Args:
        pair: the quantized model and the float one behind it.
        variants: the same, opened.
        samples: images; the first :data:`RANKING_IMAGES` are used.
        probe: runs the variants.
        ctx: the run.

    Raises:
        DataError: images that cannot be decoded, a variant that cannot be run.
    """
    names = [layer.name for layer in variants.layers]
    images: NDArray[np.float32] | None = None
    costs: list[LayerCost] = []
    with (
        tempfile.TemporaryDirectory(prefix=".variants.", dir=ctx.run_dir) as folder,
        ctx.progress("Sensitivity", len(names), "layers") as advance,
    ):
        path = Path(folder, pair.model.path.name)

        def embed(kept: Collection[str]) -> NDArray[np.float32]:
            nonlocal images
            with probe.opened(variants.write_variant(kept, variants.precisions[-1], path), ctx) as runner:
                if images is None:
                    spec = image_spec(probe.preprocessing, runner.input_shape)
                    images = np.concatenate(list(image_batches(samples.paths[:RANKING_IMAGES], spec, RANKING_IMAGES)))
                return np.asarray(runner.embed(images), np.float32)

        # not the float model: input and output are the same in all variants, so that a layer's cost is its own
        reference = embed(names)
        for done, layer in enumerate(variants.layers, start=1):
            found = embed([name for name in names if name != layer.name])
            costs.append(LayerCost(layer=layer, embedding_error=_relative_error(reference, found)))
            advance(done)
    return tuple(sorted(costs, key=lambda cost: -cost.embedding_error))


def log_costs(costs: Sequence[LayerCost]) -> None:
    """Tells the worst few layers."""
    for cost in costs[:WORST_SHOWN]:
        logger.info(
            "Costs most: %s (%s) moves the embeddings by %.2f %% where it alone is quantized",
            cost.layer.name,
            cost.layer.operator,
            100 * cost.embedding_error,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchInput:
    """What the search for the layers to keep needs.

    Attributes:
        pair: the fully quantized model and the float one behind it.
        probe: makes and runs the variants.
        data: what mAP is measured on.
        samples: images for the ranking of the layers.
        evaluation: the ``evaluation`` section.
        max_map_drop: points of mAP that may be lost.
        keep_at: the only precision to try; None tries all that the quantizer offers, the cheapest first.
    """

    pair: QuantizedModel
    probe: Probe
    data: RetrievalData
    samples: Samples
    evaluation: EvaluationSection
    max_map_drop: float
    keep_at: str | None = None


def keep_worst_layers(inp: SearchInput, ctx: RunContext) -> QuantizedModel:
    """Leaves as few layers as possible at a higher precision, so that mAP drops no more than allowed.

    The drop is that from the float model before any fine-tuning: a fine-tuned one rounds already.

    The file of the quantized model is overwritten where layers are kept. Where no variant keeps the limit, one that is
    at most :data:`CHANCE` worse than the best stays, with a warning.

    Returns:
        The pair with its ``search`` filled in.

    Raises:
        DataError: images that cannot be decoded, a variant that cannot be run, a precision that the quantizer does
            not offer.
        StorageError: the file cannot be written.
    """
    search = _Search(inp, ctx)
    chosen = search.score(inp.pair.model, 0, None)
    if chosen.drop <= inp.max_map_drop:
        logger.info("mAP changes by %+.2f points, within max_map_drop: no layer is kept from int8", -chosen.drop)
        return replace(inp.pair, search=search.result(chosen, ()))
    logger.info("mAP drops by %.2f points, more than the %g of max_map_drop", chosen.drop, inp.max_map_drop)
    variants = inp.probe.variants(inp.pair, ctx)
    precisions = _precisions(inp, variants)
    costs = measure_costs(inp.pair, variants, inp.samples, inp.probe, ctx)
    log_costs(costs)
    for precision in precisions:
        chosen = search.fewest_layers(variants, costs, precision, chosen)
        if chosen.drop <= inp.max_map_drop:
            break
    kept = _worst(costs, chosen.precision, chosen.num_kept)
    model = inp.pair.model
    if chosen.precision is not None:
        model = variants.write_variant(kept, chosen.precision, model.path)
        _tell_kept(kept, len(costs), chosen.precision)
        costs = tuple(replace(cost, kept_at=chosen.precision) if cost.layer.name in kept else cost for cost in costs)
    if chosen.drop > inp.max_map_drop:
        _warn_of_limit(inp.max_map_drop, chosen, search.best)
    return replace(inp.pair, model=model, search=search.result(chosen, costs))


class _Search:
    """Scores variants and remembers the scores."""

    def __init__(self, inp: SearchInput, ctx: RunContext) -> None:
        self._inp, self._ctx = inp, ctx
        self._section = inp.evaluation.model_copy(update={"bootstrap_samples": 0})
        self._trials: list[PrecisionTrial] = []
        self._float_map = self._mean_average_precision(inp.pair.original)

    def score(self, model: ModelFile, num_kept: int, precision: str | None) -> PrecisionTrial:
        found = self._mean_average_precision(model)
        trial = PrecisionTrial(
            num_kept=num_kept,
            precision=precision,
            mean_average_precision=found,
            drop=100 * (self._float_map - found),
        )
        self._trials.append(trial)
        return trial

    @property
    def best(self) -> PrecisionTrial:
        """The trial that loses least."""
        return min(self._trials, key=lambda trial: trial.drop)

    def result(self, chosen: PrecisionTrial, costs: tuple[LayerCost, ...]) -> PrecisionSearch:
        return PrecisionSearch(
            max_map_drop=self._inp.max_map_drop,
            float_map=self._float_map,
            trials=tuple(self._trials),
            chosen=chosen,
            costs=costs,
            data_name=self._inp.data.name,
        )

    def fewest_layers(
        self, variants: ModelVariants, costs: Sequence[LayerCost], precision: str, best: PrecisionTrial
    ) -> PrecisionTrial:
        """Searches how many of the worst layers must be kept at a precision: 1, 2, 4, ... of them, then by bisection.

        That keeping more layers never loses more is an assumption, which chance breaks: the search comes from below,
        where few layers are found although more would lose more. What is returned was scored itself. What all layers
        together cannot reach is not asked for: enough is what is at most :data:`CHANCE` worse than the best.

        Args:
            best: what was found so far; it breaks the limit.

        Returns:
            The smallest number found that is enough; ``best`` where it is no worse than chance, or enough itself.
        """
        limit = self._inp.max_map_drop
        able = len(_worst(costs, precision, len(costs)))
        with tempfile.TemporaryDirectory(prefix=".variants.", dir=self._ctx.run_dir) as folder:
            path = Path(folder, self._inp.pair.model.path.name)

            def attempt(count: int) -> PrecisionTrial:
                model = variants.write_variant(_worst(costs, precision, count), precision, path)
                trial = self.score(model, count, precision)
                logger.info(
                    "%d of %d layers at %s: mAP %.2f %%, %.2f points lost",
                    count,
                    len(costs),
                    precision,
                    100 * trial.mean_average_precision,
                    trial.drop,
                )
                return trial

            if not able:
                return best
            enough, too_few = attempt(able), 0
            accepted = max(limit, enough.drop + CHANCE)
            if best.drop <= accepted:
                return best
            while enough.num_kept - too_few > 1:
                tried = attempt(min(max(1, 2 * too_few), (enough.num_kept + too_few) // 2))
                if tried.drop <= accepted:
                    enough, accepted = tried, min(accepted, max(limit, tried.drop + CHANCE))
                else:
                    too_few = tried.num_kept
            return enough if enough.drop <= limit or enough.drop + CHANCE < best.drop else best

    def _mean_average_precision(self, model: ModelFile) -> float:
        probe, data, section, progress = self._inp.probe, self._inp.data, self._section, self._ctx.progress
        with probe.opened(model, self._ctx) as runner:
            spec = image_spec(probe.preprocessing, runner.input_shape)

            def embed(samples: Samples) -> NDArray[np.float32]:
                size, flip = section.batch_size, section.flip
                return embed_samples(runner, samples, spec, progress, batch_size=size, flip=flip)

            query = embed(data.query)
            gallery = query if data.leave_one_out else embed(data.gallery)
        scored = score_retrieval(data, query, gallery, section, self._ctx.seed_for("evaluation"))
        return float(scored.scores.mean_average_precision)


def _worst(costs: Sequence[LayerCost], precision: str | None, count: int) -> tuple[str, ...]:
    """Names of the most expensive layers among those that can be kept at a precision."""
    return tuple([cost.layer.name for cost in costs if precision in cost.layer.precisions][:count])


def _precisions(inp: SearchInput, variants: ModelVariants) -> tuple[str, ...]:
    if inp.keep_at is None:
        return variants.precisions
    if inp.keep_at not in variants.precisions:
        raise DataError(
            f"quantization.keep_layers_at: {inp.probe.quantizer.name} cannot keep layers of this model at "
            f"{inp.keep_at}, only at {' or '.join(variants.precisions)}"
        )
    return (inp.keep_at,)


def _relative_error(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Root of (sum of squared differences / sum of squares); infinite where only the reference is all zero."""
    signal, noise = float(np.sum(np.square(reference))), float(np.sum(np.square(reference - found)))
    if noise == 0:
        return 0.0
    return math.sqrt(noise / signal) if signal else math.inf


def _warn_of_limit(limit: float, chosen: PrecisionTrial, best: PrecisionTrial) -> None:
    """Tells by how much a limit is broken, and what keeping more layers would gain."""
    found = "with all layers quantized" if not chosen.num_kept else f"with {chosen.num_kept} at {chosen.precision}"
    if best.drop < chosen.drop:
        logger.warning(
            "max_map_drop %g is not kept: %.2f points of mAP are lost %s; %d layers at %s would lose %.2f, and "
            "less than %g is not worth a layer",
            limit,
            chosen.drop,
            found,
            best.num_kept,
            best.precision,
            best.drop,
            CHANCE,
        )
        return
    logger.warning(
        "max_map_drop %g cannot be kept: the best that was found still loses %.2f points of mAP, %s",
        limit,
        chosen.drop,
        found,
    )


def _tell_kept(kept: Sequence[str], total: int, precision: str) -> None:
    logger.warning(
        "%d of %d layers stay at %s: %s%s. The model is not fully int8 any more; a tool for a board must know that.",
        len(kept),
        total,
        precision,
        ", ".join(kept[:NAMED]),
        ", ..." if len(kept) > NAMED else "",
    )
