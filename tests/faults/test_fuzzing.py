"""Valid files that are spoilt: each reader takes them or refuses them with its documented error, and nothing else.

``tests/faults/fuzz.py`` does the same for hours, led by the coverage.
"""

from __future__ import annotations

import resource

import pytest
from fuzzing.spoiling import WAYS, spoilt
from fuzzing.targets import TARGETS, attempt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MEMORY_MIB = 1024  # beyond what the process has held before; the largest image that is read takes 200


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_a_spoilt_file_is_read_or_refused(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert all(attempt(name, one) or name in ("manifest", "pth", "safetensors", "onnx") for one in seeds)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @given(st.sampled_from(seeds), st.integers(0, 2**32), st.lists(st.integers(0, WAYS - 1), min_size=1, max_size=3))
    @settings(
        max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    def fuzz(whole: bytes, seed: int, ways: list[int]) -> None:
        attempt(name, spoilt(whole, seed, ways))

    fuzz()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_MIB << 10


def test_what_was_found_is_refused() -> None:
    """By the fuzzing: an input of a type that ONNX does not have, and a zip whose entries are damaged."""
    import io
    import zipfile

    import onnx

    model = onnx.load_model_from_string(TARGETS["onnx"].seeds()[0])
    model.graph.input[0].type.tensor_type.elem_type = 43
    assert not attempt("onnx", model.SerializeToString())
    model.graph.input[0].type.sequence_type.SetInParent()
    assert not attempt("onnx", model.SerializeToString())

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", TARGETS["labelme"].seeds()[-1])
        archive.writestr("b.json", b"x" * 200)
        archive.writestr("c.json", TARGETS["labelme"].seeds()[-1])
    data = buffer.getvalue().replace(b"x" * 200, b"y" * 200)  # whose checksum is wrong
    assert attempt("labelme", data)
    from livesam.app.annotations.formats import IMPORTS

    images = list(IMPORTS["labelme"](data).images)
    assert [len(image.objects) for image in images] == [3, 0, 3]
    assert "CRC" in images[1].problems[0]
