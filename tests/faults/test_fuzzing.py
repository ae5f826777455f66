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


MESSAGES = (
    {"op": "click", "x": 44, "y": 54, "positive": True}, {"op": "box", "x0": 3, "y0": 4, "x1": 90, "y1": 70.5},
    {"op": "undo"}, {"op": "preview", "x": 1, "y": 2}, {"op": "choose", "index": 1}, {"op": "reset"},
    {"op": "press", "x": 1, "y": 2}, {"op": "paint", "box": [1, 2, 9, 4]}, {"op": "paint", "box": 5},
    {"op": "accept", "label": "coin", "rough": False},
    {"op": "edit", "object": 1}, {"op": "compare"}, {"op": "take", "proposal": 0, "label": "x"},
    {"op": "domain", "name": "d"}, {"op": "open", "image": "00000000000000000000"},
)  # fmt: skip


def test_spoilt_messages_are_answered_or_refused(studio, client) -> None:
    """What the WebSocket hands on; no message is a mistake of the server's."""
    import json

    from livesam.app.server.problems import problem_of
    from livesam.wire import parse

    seat = client("spoilt messages").seat

    @given(
        st.sampled_from(MESSAGES), st.integers(0, 2**32), st.lists(st.sampled_from((0, 7, 8)), max_size=2),
        st.binary(max_size=12),
    )  # fmt: skip
    @settings(
        max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    def fuzz(message: dict[str, object], seed: int, ways: list[int], payload: bytes) -> None:
        try:
            seat.answer(parse(spoilt(json.dumps(message).encode(), seed, ways)), memoryview(payload))
        except Exception as error:
            assert problem_of(error).code != "internal", error

    fuzz()


def test_what_was_found_is_refused() -> None:
    """By the fuzzing."""
    import io
    import zipfile

    import onnx

    model = onnx.load_model_from_string(TARGETS["onnx"].seeds()[0])
    model.graph.input[0].type.tensor_type.elem_type = 43
    assert not attempt("onnx", model.SerializeToString())
    model.graph.input[0].type.sequence_type.SetInParent()
    assert not attempt("onnx", model.SerializeToString())

    from livesam.wire import pack

    assert not attempt("frame", pack({"op": "paint", "box": 5}, b""))
    assert not attempt("painted", TARGETS["painted"].seeds()[0].replace(b"box", b"bax"))

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
