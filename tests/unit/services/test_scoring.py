"""From embeddings to scores: protocols, options, and the files for the firmware."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reidfw_core.artifacts import RetrievalData
from reidfw_core.config.sections import EvaluationSection
from reidfw_core.errors import DataError
from reidfw_core.metrics import best_threshold
from reidfw_core.services.evaluation_files import Opened, threshold_at, threshold_facts, threshold_header
from reidfw_core.services.scoring import chosen_protocol, score_retrieval
from reidfw_core.types import ModelFile, ModelFormat, Role, Samples


def samples(role: Role, identities: str, cameras: str | None = None) -> Samples:
    """A letter an image: identities ``aab``, cameras ``112``."""
    return Samples(
        role=role,
        root=Path("/data") / role,
        paths=tuple(Path(f"/data/{role}/{name}_{place}.jpg") for place, name in enumerate(identities)),
        identities=tuple(identities),
        cameras=None if cameras is None else tuple(cameras),
    )


def data(query: str, gallery: str, cameras: tuple[str, str] | None = None) -> RetrievalData:
    return RetrievalData(
        name="test_set",
        query=samples("test_query", query, cameras and cameras[0]),
        gallery=samples("test_gallery", gallery, cameras and cameras[1]),
    )


def angles(*degrees: float) -> np.ndarray:
    """Embeddings on the unit circle: cosine distance grows with the difference of the angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


SECTION = EvaluationSection(bootstrap_samples=200)


def test_the_plain_protocol_by_hand() -> None:
    # Query a at 0: gallery b (5), a (10), a (40): ranks 2 and 3, AP = (1/2 + 2/3) / 2.
    scored = score_retrieval(data("a", "baa"), angles(0), angles(5, 10, 40), SECTION, 1)
    assert scored.scores.mean_average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scored.scores.rank(1) == 0
    assert scored.nearest.tolist()[0][:3] == [0, 1, 2]


def test_cameras_choose_the_protocol_and_take_out_the_same_camera() -> None:
    both = data("a", "baa", ("1", "112"))
    assert chosen_protocol(both, SECTION) == "market1501"
    assert chosen_protocol(data("a", "baa"), SECTION) == "all"
    scored = score_retrieval(both, angles(0), angles(5, 10, 40), SECTION, 1)
    assert scored.scores.mean_average_precision == pytest.approx(1 / 2)  # b, then the a of camera 2
    assert [index for index in scored.nearest[0] if index >= 0] == [0, 2]
    assert scored.verification.num_genuine == 1  # the pair of one camera counts there neither
    section = SECTION.model_copy(update={"protocol": "all"})
    assert score_retrieval(both, angles(0), angles(5, 10, 40), section, 1).verification.num_genuine == 2


def test_junk_is_not_among_the_nearest() -> None:
    both = RetrievalData(
        name="test_set",
        query=samples("test_query", "a", "1"),
        gallery=replace(samples("test_gallery", "aba", "222"), identities=("-1", "b", "a")),
    )
    scored = score_retrieval(both, angles(0), angles(1, 5, 10), SECTION, 1)
    assert [index for index in scored.nearest[0] if index >= 0] == [1, 2]


def test_an_image_never_meets_itself() -> None:
    one = samples("validation", "aabb")
    both = RetrievalData(name="validation_set", query=one, gallery=one)
    scored = score_retrieval(both, angles(0, 10, 90, 100), angles(0, 10, 90, 100), SECTION, 1)
    assert scored.scores.rank(1) == 1.0
    assert scored.nearest[:, 0].tolist() == [1, 0, 3, 2]
    assert scored.verification.num_genuine == 4


def test_queries_without_a_match_are_listed_and_an_empty_result_is_an_error() -> None:
    scored = score_retrieval(data("az", "aab"), angles(0, 90), angles(5, 10, 40), SECTION, 1)
    assert scored.scores.queries_without_match == (1,)
    assert scored.ranked_queries() == [0]
    with pytest.raises(DataError, match="None of the 1 queries"):
        score_retrieval(data("z", "aab"), angles(0), angles(5, 10, 40), SECTION, 1)


def test_queries_are_ranked_from_worst_to_best() -> None:
    scored = score_retrieval(data("ab", "ab"), angles(0, 10), angles(1, 0), SECTION, 1)
    assert scored.ranked_queries() == [1, 0] or scored.scores.average_precisions[0] <= 0.5


def test_multi_query_pools_one_identity_and_camera() -> None:
    section = SECTION.model_copy(update={"multi_query": True})
    both = data("aab", "abb", ("112", "234"))
    scored = score_retrieval(both, angles(0, 20, 90), angles(12, 80, 100), section, 1)
    assert scored.queries.identities == ("a", "b")
    assert scored.scores.num_queries == 2
    assert scored.queries.paths[0].name == "a_0.jpg"
    one = samples("validation", "aabb")
    with pytest.raises(DataError, match="multi_query"):
        everybody = RetrievalData(name="validation_set", query=one, gallery=one)
        score_retrieval(everybody, angles(0, 1, 2, 3), angles(0, 1, 2, 3), section, 1)


def test_reranking_changes_ranks_but_not_the_threshold() -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(6, 8))
    names = "abcdef"
    query = (centres + rng.normal(scale=0.8, size=(6, 8))).astype(np.float32)
    gallery = (np.repeat(centres, 5, axis=0) + rng.normal(scale=0.8, size=(30, 8))).astype(np.float32)
    both = data(names, "".join(letter * 5 for letter in names))
    plain = score_retrieval(both, query, gallery, SECTION, 1)
    settings = EvaluationSection.model_validate({"rerank": {"k1": 6, "k2": 2}, "bootstrap_samples": 0})
    reranked = score_retrieval(both, query, gallery, settings, 1)
    assert reranked.verification.threshold == plain.verification.threshold
    assert not np.array_equal(reranked.nearest, plain.nearest)
    assert reranked.intervals == {}


def test_one_matched_identity_gives_no_interval_and_few_pairs_no_low_rate() -> None:
    scored = score_retrieval(data("az", "aab"), angles(0, 90), angles(5, 10, 40), SECTION, 1)
    assert scored.intervals == {}
    assert threshold_at(scored.verification, 0.001) is None


def test_intervals_hold_the_score_and_follow_the_seed() -> None:
    rng = np.random.default_rng(0)
    names = "".join(chr(97 + i) for i in range(20))
    both = data(names, names)
    query, gallery = angles(*rng.uniform(0, 180, 20)), angles(*rng.uniform(0, 180, 20))
    first, second = (score_retrieval(both, query, gallery, SECTION, 3) for _ in range(2))
    assert first.intervals == second.intervals
    low, high = first.intervals["mAP"]
    assert 0 <= low <= first.scores.mean_average_precision <= high <= 1
    assert {"mAP", "mINP", "rank1", "rank5", "rank10"} <= set(first.intervals)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    path = tmp_path / "quantized.tflite"
    path.write_bytes(b"weights")
    model = ModelFile(path=path, format=ModelFormat("tflite", "int8"), name="quantized")
    return Opened(model=model, kind="int", kernels="k", images_per_second=1.0)


def test_the_threshold_file_and_the_header_say_the_same(opened: Opened) -> None:
    scores = best_threshold(angles(0, 90), angles(10, 100, 50), "ab", "abc")
    facts = threshold_facts(opened, scores)
    assert facts["threshold"] == scores.threshold
    assert facts["distance"] == "cosine"
    header = threshold_header(facts)
    number = re.search(r"REID_DISTANCE_THRESHOLD (\S+)f", header)
    assert number is not None
    assert float(number[1]) == pytest.approx(scores.threshold, rel=1e-7)
    similarity = re.search(r"REID_COSINE_SIMILARITY_THRESHOLD (\S+)f", header)
    assert similarity is not None
    assert float(similarity[1]) == pytest.approx(1 - scores.threshold, rel=1e-6)
    assert header.count("#if") == header.count("#endif")


def test_a_model_name_cannot_end_the_comment_of_the_header(opened: Opened, tmp_path: Path) -> None:
    scores = best_threshold(angles(0, 90), angles(10, 100), "ab", "ab")
    facts = threshold_facts(opened, scores) | {"model": "evil*/ #error ü.tflite"}
    comment = threshold_header(facts).partition("#ifndef")[0]
    assert comment.count("*/") == 1
    assert comment.isascii()


def test_the_threshold_at_a_false_positive_rate_keeps_it() -> None:
    rng = np.random.default_rng(1)
    query, gallery = rng.normal(size=(20, 4)), rng.normal(size=(60, 4))
    identities = [str(i % 5) for i in range(20)], [str(i % 5) for i in range(60)]
    scores = best_threshold(query, gallery, *identities)
    unit = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in (query, gallery)]
    distances = 1 - unit[0] @ unit[1].T
    impostor = distances[np.not_equal.outer(identities[0], identities[1])]
    for rate in (0.01, 0.1):
        threshold = threshold_at(scores, rate)
        if threshold is not None:
            assert np.mean(impostor <= threshold) <= rate
