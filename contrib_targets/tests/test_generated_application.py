"""The application code beside a generated model: the same similarities and decisions as Python's evaluation."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reidfw_targets.portable_c.compiling import compile_to
from reidfw_targets.portable_c.host import STRICT, compile_shared

from reidfw_core.metrics import best_threshold
from reidfw_core.metrics.distances import chunked_distances
from reidfw_core.services.evaluation_files import threshold_header

pytestmark = [
    pytest.mark.skipif(
        not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler on this computer"
    ),
    pytest.mark.slow,
]
ONE = 1 << 30
UNKNOWN = 0xFFFF
CAPACITY = 40

DRIVER = """
#include "reid.h"
int32_t threshold_of(double distance) { return REID_THRESHOLD(distance); }
"""


class Application:
    """The compiled application, with the types of ``reid.h``."""

    def __init__(self, compiled, folder):
        (folder / "driver.c").write_text(DRIVER)
        compile_shared([*compiled.generated.sources, folder / "driver.c"], folder / "app.so", f"-I{folder}")
        network = compiled.network
        image, embedding = network.tensors[network.image], network.tensors[network.embedding]
        self.size, self.zero_point, self.scale = embedding.row_bytes, embedding.zero_point, embedding.scale
        self.image_shape = image.shape

        class Vector(ctypes.Structure):
            _fields_ = (("values", ctypes.c_int8 * self.size), ("squares", ctypes.c_uint64))

        class Gallery(ctypes.Structure):
            _fields_ = (
                ("vectors", ctypes.POINTER(Vector)),
                ("identities", ctypes.POINTER(ctypes.c_uint16)),
                ("capacity", ctypes.c_uint16),
                ("count", ctypes.c_uint16),
            )

        self.Vector = Vector
        self.library = ctypes.CDLL(str(folder / "app.so"))
        self.library.threshold_of.argtypes = [ctypes.c_double]
        for name in ("reid_match", "reid_remove"):
            getattr(self.library, name).restype = ctypes.c_uint16
        self.kept = (Vector * CAPACITY)(), (ctypes.c_uint16 * CAPACITY)()
        self.gallery = Gallery()
        self.library.reid_gallery_init(ctypes.byref(self.gallery), *self.kept, ctypes.c_uint16(CAPACITY))

    def embed(self, image):
        """Integers (D,) of an image."""
        values = np.empty(self.size, np.int8)
        assert (
            self.library.model_run_image(image.ctypes.data_as(ctypes.c_void_p), values.ctypes.data_as(ctypes.c_void_p))
            == 0
        )
        return values

    def vector(self, values):
        made = self.Vector()
        self.library.reid_prepare(np.ascontiguousarray(values).ctypes.data_as(ctypes.c_void_p), ctypes.byref(made))
        return made

    def cosine(self, a, b):
        return self.library.reid_cosine(ctypes.byref(a), ctypes.byref(b))

    def enrol(self, vector, identity):
        return self.library.reid_enrol(ctypes.byref(self.gallery), ctypes.byref(vector), ctypes.c_uint16(identity))

    def match(self, vector, threshold):
        similarity = ctypes.c_int32()
        found = self.library.reid_match(
            ctypes.byref(self.gallery), ctypes.byref(vector), ctypes.c_int32(threshold), ctypes.byref(similarity)
        )
        return found, similarity.value

    def clear(self):
        self.gallery.count = 0

    def real(self, values):
        """What an embedding's integers stand for, as the evaluation sees it."""
        return ((values.astype(np.float32) - self.zero_point) * np.float32(self.scale)).astype(np.float32)


@pytest.fixture(scope="module")
def application(int8_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("application")
    return Application(compile_to(int8_file.path, folder), folder)


def crops(shape):
    """Crops of six people, eight each: a coloured figure, elsewhere in the image and in other light each time."""
    generator = np.random.default_rng(5)
    height, width, _ = shape
    images, identities = [], []
    for person in range(6):
        coat, trousers = generator.integers(0, 256, (2, 3))
        for _ in range(8):
            image = generator.integers(60, 200, (1, 1, 3)) + generator.normal(0, 12, shape)
            left = generator.integers(1, width // 2)
            image[2 : height // 2, left : left + width // 2] = coat
            image[height // 2 : -2, left : left + width // 2] = trousers
            image = image * generator.uniform(0.75, 1.15) + generator.normal(0, 6, shape)
            images.append(np.clip(image, 0, 255).astype(np.uint8))
            identities.append(person)
    return np.stack(images), np.array(identities)


def test_decisions_are_those_of_the_evaluation(application):
    images, identities = crops(application.image_shape)
    integers = np.stack([application.embed(image) for image in images])
    query, gallery = slice(0, None, 4), np.arange(len(images)) % 4 != 0
    real = application.real(integers)
    scores = best_threshold(
        real[query], real[gallery], list(map(str, identities[query])), list(map(str, identities[gallery]))
    )
    assert 0 < scores.threshold < 1
    distances = np.concatenate([rows for _, rows in chunked_distances(real[query], real[gallery], "cosine")])
    vectors = [application.vector(values) for values in integers]
    threshold = application.library.threshold_of(scores.threshold)

    queries = [vector for vector, chosen in zip(vectors, np.arange(len(images)) % 4 == 0, strict=True) if chosen]
    known = [vector for vector, chosen in zip(vectors, gallery, strict=True) if chosen]
    same = np.array(
        [[application.library.reid_same(ctypes.byref(q), ctypes.byref(g), threshold) for g in known] for q in queries]
    )
    np.testing.assert_array_equal(same, distances <= scores.threshold)
    assert 0 < same.mean() < 1

    application.clear()
    for vector, identity in zip(known, identities[gallery], strict=True):
        assert application.enrol(vector, int(identity)) == 0
    expected = identities[gallery][distances.argmin(1)]
    expected = np.where(distances.min(1) <= scores.threshold, expected, UNKNOWN)
    found = [application.match(vector, threshold)[0] for vector in queries]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), spread=st.integers(1, 127))
def test_similarity_is_exact(application, seed, spread):
    generator = np.random.default_rng(seed)
    zero = application.zero_point
    values = np.clip(generator.integers(-spread, spread + 1, (2, application.size)) + zero, -128, 127).astype(np.int8)
    a, b = values.astype(np.float64) - zero
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    one, other = map(application.vector, values)
    expected = float(a @ b / lengths) if lengths else 0.0
    assert application.cosine(one, other) / ONE == pytest.approx(expected, abs=2**-29)
    assert application.cosine(one, one) == (ONE if np.any(a) else 0)
    unit = (ctypes.c_int16 * application.size)()
    application.library.reid_normalise(ctypes.byref(one), unit)
    expected_unit = a / np.linalg.norm(a) if np.any(a) else a
    # the length has 8 fraction bits: an error that counts for embeddings that are nearly zero only
    tolerance = 1.0 / 32767 + 2.0**-8 / max(np.linalg.norm(a), 1.0)
    np.testing.assert_allclose(np.array(unit) / 32767, expected_unit, atol=tolerance)


def test_gallery_is_kept_in_the_memory_given(application):
    application.clear()
    generator = np.random.default_rng(0)
    vectors = [application.vector(generator.integers(-128, 128, application.size).astype(np.int8)) for _ in range(3)]
    assert application.match(vectors[0], -ONE) == (UNKNOWN, -ONE)
    assert application.enrol(vectors[0], UNKNOWN) == -1
    for number in range(CAPACITY):
        assert application.enrol(vectors[number % 3], number % 3) == 0
    assert application.enrol(vectors[0], 0) == -1
    assert application.match(vectors[1], ONE) == (1, ONE)
    assert application.library.reid_remove(ctypes.byref(application.gallery), ctypes.c_uint16(1)) == CAPACITY // 3
    assert application.match(vectors[1], ONE)[0] == UNKNOWN
    assert application.match(vectors[2], ONE) == (2, ONE)


def header_of(folder, distance, threshold):
    """The header of an evaluation, as it lies beside its ``..._reid_threshold.json``."""
    facts = {
        "distance": distance,
        "threshold": threshold,
        "model": "model.tflite",
        "model_sha256": "0",
        "flip": False,
        "multi_query": False,
        "thresholds_at_false_positive_rate": {},
    }
    (folder / "threshold.h").write_text(threshold_header(facts))


def compiles(folder, *headers):
    """What the compiler says of a program with the threshold of these headers, strict on floats."""
    text = "".join(f'#include "{name}"\n' for name in headers)
    text += "int main(void)\n{\n    static const int32_t threshold = REID_THRESHOLD(REID_DISTANCE_THRESHOLD);\n"
    (folder / "uses.c").write_text(text + "    return threshold != REID_THRESHOLD(0.35f);\n}\n")
    strict = [*STRICT, "-Wdouble-promotion", "-Wconversion", f"-I{folder}"]
    command = ["cc", *strict, str(folder / "uses.c"), "-o", str(folder / "uses")]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_threshold_of_an_evaluation_compiles_and_a_euclidean_one_does_not(int8_file, tmp_path):
    compile_to(int8_file.path, tmp_path)
    header_of(tmp_path, "cosine", 0.35)
    for headers in (("threshold.h", "reid.h"), ("reid.h", "threshold.h")):
        done = compiles(tmp_path, *headers)
        assert done.returncode == 0, done.stderr
        assert subprocess.run([str(tmp_path / "uses")], check=False).returncode == 0
    header_of(tmp_path, "euclidean", 14.4)
    assert "set evaluation.reid_distance_metric to cosine" in compiles(tmp_path, "threshold.h", "reid.h").stderr
    assert "reid_needs_a_cosine_threshold" in compiles(tmp_path, "reid.h", "threshold.h").stderr


def test_what_is_no_cosine_distance_recognises_nobody(application):
    of = application.library.threshold_of
    application.clear()
    vector = application.vector(np.arange(application.size).astype(np.int8))
    application.enrol(vector, 3)
    for distance in (14.4, 2.1, -0.1, float("nan")):
        assert application.match(vector, of(distance))[0] == UNKNOWN
    assert application.match(vector, of(0.0))[0] == application.match(vector, of(2.0))[0] == 3


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler on this computer")
def test_an_application_in_cpp_calls_the_code(int8_file, tmp_path):
    sources = compile_to(int8_file.path, tmp_path).generated.sources
    objects = [str(tmp_path / f"{source.stem}.o") for source in sources]
    for source, made in zip(sources, objects, strict=True):
        subprocess.run(["cc", "-O1", "-c", str(source), "-o", made], check=True)
    shutil.copy(tmp_path / "main.c", tmp_path / "main.cpp")
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    program = tmp_path / "example"
    subprocess.run(["c++", *strict, str(tmp_path / "main.cpp"), *objects, "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0


def test_the_example_builds_without_warnings_and_recognises(int8_file, tmp_path):
    for mode in ("resident", "rows"):
        folder = tmp_path / mode
        compile_to(int8_file.path, folder, input_mode=mode)
        program = tmp_path / f"example_{mode}"
        subprocess.run(["cc", *STRICT, "-O2", *map(str, folder.glob("*.c")), "-o", str(program)], check=True)
        assert subprocess.run([str(program)], check=False).returncode == 0
