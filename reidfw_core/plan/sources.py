"""Reading the data sets of a plan, and finding what is wrong with them before the first minute of work."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reidfw_core.artifacts import CalibrationData, PredictionData, RetrievalData, TrainingData
from reidfw_core.bus import HookBus
from reidfw_core.context import work_progress
from reidfw_core.errors import DataError
from reidfw_core.files import file_digest
from reidfw_core.imaging.decoding import decoding_problem
from reidfw_core.imaging.files import bad_images_error, find_bad_images, sniff_image
from reidfw_core.plan.planner import Plan, map_is_limited
from reidfw_core.sampling.splits import choose_calibration, split_by_identity, split_by_image
from reidfw_core.types import Role, Samples

if TYPE_CHECKING:
    from reidfw_core.config import Configuration

logger = logging.getLogger(__name__)


def read_sources(plan: Plan, configuration: Configuration, bus: HookBus) -> dict[type, Any]:
    """Lists the images of every data set that the plan needs, and checks the files.

    With ``dataset.check_image_files`` every image is decoded; otherwise only its first and last bytes are read. Bad
    files that the error has no room for are listed in a file beside the run folders.

    Returns:
        The artifacts with which the run begins, by their type.

    Raises:
        DataError: an unusable folder, too few identities, bad image files (all of them listed).
    """
    reader = configuration.components.reader
    if reader is None or not plan.roles:
        return _as_artifacts(plan, configuration, {})
    dataset = configuration.config.dataset
    outputs = Path(configuration.config.hydra.run.dir).parent
    samples: dict[Role, Samples] = {}
    for role in plan.roles:
        folder = getattr(dataset, f"{role}_path", None) if reader.component.needs_paths else None
        root = Path(folder).expanduser().absolute() if folder else None
        if root is not None and root.is_file() and role == "prediction_query":
            samples[role] = single_image(root, role)
            continue
        samples[role] = bus.ask(reader.component, "read_samples", root=root, role=role)
        if not len(samples[role]):
            raise DataError(f"The {role} set in {samples[role].root} has no images")
        if bus.supports(reader.component, "verify_samples") and dataset.check_image_files:
            bad = bus.ask(reader.component, "verify_samples", samples=samples[role])
            if bad:
                raise bad_images_error(bad, outputs)
    _check_files(samples, bus, outputs, thorough=dataset.check_image_files)
    return _as_artifacts(plan, configuration, samples)


def single_image(path: Path, role: Role) -> Samples:
    """One image as a set; its identity is the text before the first underscore of its name."""
    return Samples(role=role, root=path.parent, paths=(path,), identities=(path.stem.partition("_")[0] or path.stem,))


def _check_files(samples: Mapping[Role, Samples], bus: HookBus, outputs: Path, *, thorough: bool) -> None:
    paths = list(dict.fromkeys(path for one in samples.values() for path in one.paths))
    check = decoding_problem if thorough else sniff_image
    with work_progress(bus, "Checking image files", len(paths), "images") as advance:
        bad = find_bad_images(paths, check, advance)
    if bad:
        raise bad_images_error(bad, outputs)
    if thorough:
        logger.info("All %d image files can be decoded", len(paths))


def _as_artifacts(plan: Plan, configuration: Configuration, samples: Mapping[Role, Samples]) -> dict[type, Any]:
    dataset = configuration.config.dataset
    artifacts: dict[type, Any] = {}
    steps = {planned.step.name for planned in plan.steps}
    scores = "evaluate" in steps or ("quantize" in steps and map_is_limited(configuration))
    validation = samples.get("validation")
    train = samples.get("training")
    whole_train = train
    if train is not None and validation is None and (scores or steps & {"train", "fine_tune"}):
        split = split_by_identity if dataset.validation_split_by == "identity" else split_by_image
        train, validation = split(train, dataset.validation_split, dataset.seed)
    if steps & {"train", "fine_tune"} and train is not None and validation is not None:
        _check_training_set(train)
        artifacts[TrainingData] = TrainingData(train=train, validation=validation)
    if "test_query" in samples:
        artifacts[RetrievalData] = RetrievalData(
            name="test_set", query=samples["test_query"], gallery=samples["test_gallery"]
        )
        _check_overlap(artifacts[RetrievalData])
        if artifacts[RetrievalData].leave_one_out:
            logger.warning("Query and gallery are the same images: each is compared with the others, never with itself")
        else:
            _warn_of_copies(artifacts[RetrievalData])
    elif validation is not None:
        artifacts[RetrievalData] = RetrievalData(name="validation_set", query=validation, gallery=validation)
    if scores and RetrievalData in artifacts:
        _check_cameras(artifacts[RetrievalData], configuration)
    if "quantize" in steps:
        artifacts[CalibrationData] = _calibration(samples.get("quantization", whole_train), configuration)
    if "prediction_query" in samples:
        artifacts[PredictionData] = PredictionData(
            query=samples["prediction_query"], gallery=samples.get("prediction_gallery")
        )
    return artifacts


def _calibration(chosen: Samples | None, configuration: Configuration) -> CalibrationData:
    """The share of the set to calibrate with; without a set noise, which the plan has allowed."""
    dataset = configuration.config.dataset
    if chosen is None:
        nothing = Samples(role="quantization", root=Path(), paths=(), identities=())
        return CalibrationData(samples=nothing, origin="random noise", noise_seed=dataset.seed)
    return CalibrationData(
        samples=choose_calibration(chosen, dataset.quantization_split or 1.0, dataset.seed),
        origin=f"the {chosen.role} set ({chosen.root})",
    )


def _check_training_set(train: Samples) -> None:
    if len(train.identity_names) < 2:
        raise DataError(
            f"The training set in {train.root} has a single identity, '{train.identity_names[0]}'",
            hint="The identity is the part of a file name before the first underscore; two or more are needed.",
        )


def _check_cameras(data: RetrievalData, configuration: Configuration) -> None:
    section = configuration.config.evaluation
    if section is None or section.protocol not in ("market1501", "veri"):
        return
    unknown = [one.role for one in (data.query, data.gallery) if one.cameras is None]
    if unknown:
        raise DataError(
            f"evaluation.protocol: {section.protocol} needs the camera of each image; unknown for: "
            f"{' and '.join(dict.fromkeys(unknown))}",
            hint="Choose a dataset.reader that knows cameras (reidfw list datasets), or evaluation.protocol: all.",
        )


def _check_overlap(data: RetrievalData) -> None:
    if not set(data.query.identities) & set(data.gallery.identities):
        raise DataError(
            "No query image has an image of its identity in the gallery",
            hint=f"Query: {data.query.root}; gallery: {data.gallery.root}. Their file names must share identities.",
        )


def _warn_of_copies(data: RetrievalData) -> None:
    """Query images that lie in the gallery too find themselves, which flatters every score."""
    sizes: dict[int, list[Path]] = {}
    for path in data.gallery.paths:
        sizes.setdefault(path.stat().st_size, []).append(path)
    copies: list[tuple[Path, Path]] = []
    digests: dict[Path, str] = {}
    for query in data.query.paths:
        candidates = sizes.get(query.stat().st_size, [])  # only files of equal size need to be read
        if candidates:
            wanted = file_digest(query)
            found = next((one for one in candidates if _digest(one, digests) == wanted), None)
            if found is not None:
                copies.append((query, found))
    if copies:
        query, twin = copies[0]
        logger.warning(
            "%d of %d query images are in the gallery too, for example %s (there: %s): they find themselves, and all "
            "scores are too good",
            len(copies),
            len(data.query),
            query.name,
            twin,
        )


def _digest(path: Path, known: dict[Path, str]) -> str:
    if path not in known:
        known[path] = file_digest(path)
    return known[path]
