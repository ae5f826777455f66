"""``import livesam`` is all that a user needs, and costs nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import livesam
import numpy as np
import pytest
from PIL import Image

NAMES = {
    "Box", "Click", "Learner", "LivesamError", "Look", "LoopConfig", "MaskResult", "Prompt", "Session", "__version__",
    "RemoteSession", "connect", "connect_async", "embed", "export_decoder", "learn", "open_session", "prepare",
    "segment", "widget",
}  # fmt: skip


@pytest.fixture
def session(photo: np.ndarray) -> livesam.Session:
    made = livesam.open_session()
    made.set_image(photo)
    yield made
    made.close()


def test_names_are_those_of_all_and_each_is_documented() -> None:
    assert set(livesam.__all__) == set(dir(livesam)) == NAMES
    for name in NAMES - {"__version__"}:
        assert getattr(livesam, name).__doc__, name
    with pytest.raises(AttributeError, match=r"has no 'opensession'; it has .*open_session"):
        livesam.opensession  # noqa: B018


def test_importing_pulls_in_nothing_heavy() -> None:
    code = "import livesam, sys; print(sorted({'torch', 'cv2', 'onnxruntime', 'openvino', 'PIL'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_one_line_one_mask(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    height, width = photo.shape[:2]
    by_path = livesam.segment(tmp_path / "photo.png", clicks=[(width / 2, height / 2), (5, 5, False)])
    by_array = livesam.segment(photo, clicks=[livesam.Click(width / 2, height / 2), (5, 5, False)])
    assert by_path.mask.shape == (height, width)
    np.testing.assert_array_equal(by_path.mask, by_array.mask)
    boxed = livesam.segment(photo, box=(10, 10, width - 10, height - 10))
    assert boxed.mask.any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "at least one click"),
        ({"clicks": [(1,)]}, r"\(x, y\) or \(x, y, positive\)"),
        ({"clicks": (10, 10)}, r"a click is \(x, y\) .*, got 10; clicks are a list"),
        ({"clicks": 10}, r"clicks are a list of \(x, y\)"),
        ({"box": (1, 2, 3)}, r"\(x0, y0, x1, y1\)"),
        ({"box": 3}, r"\(x0, y0, x1, y1\), got 3"),
        ({"clicks": [(5, 5)], "bands": (3, 2, 1)}, "bands are of a file"),
        ({"clicks": [(5, 5)], "model": "vit_x"}, "unknown model"),
    ],
)
def test_wrong_calls_are_answered_with_the_right_one(photo: np.ndarray, given: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        livesam.segment(photo, **given)  # type: ignore[arg-type]


def test_nano_looks_closer_unless_told_otherwise(session: livesam.Session) -> None:
    assert session.look == livesam.Look(zoom=True, obey=True, edges=True)
    plain = livesam.open_session(look=livesam.Look())
    assert plain.look == livesam.Look()
    plain.close()


def test_results_save_and_draw_themselves(session: livesam.Session, photo: np.ndarray, tmp_path: Path) -> None:
    height, width = photo.shape[:2]
    result = session.click(width / 2, height / 2)
    result.save(tmp_path / "mask.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")) > 0, result.mask)
    drawn = result.overlay(tmp_path / "overlay.jpg")
    with Image.open(tmp_path / "overlay.jpg") as opened:
        assert opened.size == drawn.shape[1::-1]
    inside = drawn[height // 2 * drawn.shape[0] // height + 25, width // 2 * drawn.shape[1] // width + 25]
    assert not np.array_equal(inside, photo[height // 2 + 20, width // 2 + 20])
    with Image.open(io.BytesIO(result._repr_png_())) as opened:
        assert opened.format == "PNG"
    with pytest.raises(ValueError, match=r"\.png"):
        result.save(tmp_path / "mask.jpg")


def test_without_the_image_an_overlay_asks_for_it(photo: np.ndarray, tmp_path: Path) -> None:
    session = livesam.open_session(look=livesam.Look())
    session.set_image(photo)
    result = session.click(20, 20)
    with pytest.raises(ValueError, match="give overlay"):
        result.overlay()
    assert result.overlay(image=photo).dtype == np.uint8
    with pytest.raises(ValueError, match="of an image of"):
        result.overlay(image=photo[:-1])
    with pytest.raises(ValueError, match=r"give the image as overlay\(image=...\)"):
        result.overlay(photo)  # type: ignore[arg-type]
    Image.fromarray(photo).save(tmp_path / "photo.png")
    drawn = result.overlay(tmp_path / "overlay.png", image=str(tmp_path / "photo.png"))
    np.testing.assert_array_equal(drawn, result.overlay(image=photo))
    session.close()


def test_wrong_arguments_are_said_in_a_sentence(session: livesam.Session, tmp_path: Path) -> None:
    prompt = livesam.Prompt((livesam.Click(5, 5),))
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: livesam.open_session(look="zoom"), "a look is Look"),  # type: ignore[arg-type]
        (lambda: livesam.open_session(checkpoint=3), "checkpoint is a path, got int"),  # type: ignore[arg-type]
        (lambda: livesam.open_session(device=3), "unknown device 3"),  # type: ignore[arg-type]
        (lambda: livesam.embed(None, tmp_path), "is a path, got NoneType"),  # type: ignore[arg-type]
        (lambda: livesam.embed(tmp_path, tmp_path, bands=3), "one or three numbers"),  # type: ignore[arg-type]
        (lambda: livesam.learn("nano"), "learn takes a session, got 'nano'"),  # type: ignore[arg-type]
        (
            lambda: livesam.export_decoder("nano", "hf", tmp_path / "hf"),  # type: ignore[arg-type]
            "export_decoder takes a session, got 'nano'",
        ),
        (lambda: session.predict_many(prompt), "takes a list of prompts"),  # type: ignore[arg-type]
        (lambda: session.predict_many(3), "takes a list of prompts"),  # type: ignore[arg-type]
        (lambda: session.set_image(tmp_path / "photo.png", bands=3), "one or three numbers"),  # type: ignore[arg-type]
        (lambda: session.save(3), "a session's file is a path, got int"),  # type: ignore[arg-type]
        (lambda: session.restore(None), "a session's file is a path, got NoneType"),  # type: ignore[arg-type]
        (lambda: session.restore(tmp_path / "log", bands=(1,)), "bands are of an image file"),
        (lambda: setattr(session, "look", True), "a look is Look"),
        (lambda: setattr(session, "domain", ""), "a domain is a name"),
        (lambda: setattr(session, "domain", None), "a domain is a name"),
    ]
    (tmp_path / "photo.png").write_bytes(b"no image")
    for call, said in calls:
        with pytest.raises(ValueError, match=said):
            call()
    assert session.domain == "default"


def test_a_session_is_saved_and_restored_by_the_names_of_files(photo: np.ndarray, tmp_path: Path) -> None:
    bands = tmp_path / "photo.png"
    Image.fromarray(photo).save(bands)
    session = livesam.open_session()
    session.set_image(bands, bands=(3, 2, 1))
    last = session.click(60, 60)
    session.save(str(tmp_path / "log"))
    restored = session.restore(str(tmp_path / "log"), str(bands), bands=(3, 2, 1))
    assert restored is not None
    np.testing.assert_array_equal(restored.mask, last.mask)
    with pytest.raises(livesam.LivesamError, match="another image"):
        session.restore(tmp_path / "log", bands)
    session.close()


def test_a_saved_session_has_the_name_of_a_domain(session: livesam.Session, tmp_path: Path) -> None:
    session.click(60, 60)
    session._dialogue.domain = ""
    session.save(tmp_path / "log")
    with pytest.raises(livesam.LivesamError, match="a domain is a name"):
        session.restore(tmp_path / "log")


def test_what_a_caller_does_to_its_arrays_stays_its_own(session: livesam.Session, photo: np.ndarray) -> None:
    height, width = photo.shape[:2]

    def run(spoil: bool) -> np.ndarray:
        session.reset()
        for _ in range(2):
            result = session.click(width / 2, height / 2)
            if spoil:
                result.low_res_logits[:] = -9
                result.mask[:] = False
        return session.click(width / 3, height / 3, positive=False).mask

    np.testing.assert_array_equal(run(False), run(True))


def test_the_image_of_a_result_cannot_be_written(session: livesam.Session, photo: np.ndarray) -> None:
    results = [session.click(60, 60), session.preview(30, 30), session.click(100, 90), session.undo()]
    for result in results:
        assert result is not None
        assert result.image is not None
        with pytest.raises(ValueError, match="read-only"):
            result.image[:] = 0
        np.testing.assert_array_equal(result.image, photo)


def test_embeddings_are_of_the_bands_that_are_named(photo: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert livesam.embed(tmp_path / "photo.png", tmp_path / "e", bands=(3, 2, 1)).encoded == 1
    session = livesam.open_session(embeddings=tmp_path / "e")
    for bands, stored in ((None, 2), ((3, 2, 1), 2), ((1,), 3)):
        session.set_image(tmp_path / "photo.png", bands=bands)
        assert len(list((tmp_path / "e").glob("*.safetensors"))) == stored
    one = session.click(60, 60)
    np.testing.assert_array_equal(livesam.segment(tmp_path / "photo.png", [(60, 60)], bands=(1,)).mask, one.mask)
    session.close()


def test_previews_change_nothing_and_redo_takes_up_what_was_undone(session: livesam.Session) -> None:
    first, second = session.click(60, 60), session.click(100, 90)
    hovered = session.preview(30, 30)
    assert hovered.mask.shape == first.mask.shape
    session.undo()
    again = session.redo()
    assert again is not None
    np.testing.assert_array_equal(again.mask, second.mask)
    with pytest.raises(livesam.LivesamError, match="nothing to redo"):
        session.redo()
    session.undo()
    session.click(20, 20)
    with pytest.raises(livesam.LivesamError, match="nothing to redo"):
        session.redo()


def test_a_live_export_says_what_it_is(session: livesam.Session, tmp_path: Path) -> None:
    from livesam.adapter.learning.loop_state import LoopConfig

    session.domain = "shirts"
    with livesam.learn(session, "paper", config=LoopConfig(nice=0, quiet_s=0)) as learner:
        session.click(60, 60)
        session.accept()
        assert learner.wait(120)
        assert session.slot.current > 0
        manifest = livesam.export_decoder(session, "safetensors", tmp_path / "decoder.safetensors")
    assert manifest.options["method"] == "paper"
    assert manifest.options["domain"] == "shirts"
    assert sum(manifest.options["counts"].values()) > 0
    after = livesam.export_decoder(session, "safetensors", tmp_path / "after.safetensors")
    assert after.options["counts"] == manifest.options["counts"]
    learned = manifest.weights_hash
    session.slot.rollback(0)
    base = livesam.export_decoder(session, "safetensors", tmp_path / "base.safetensors")
    assert base.options["method"] == "base"
    assert base.weights_hash != learned


def test_nano_opens_and_embeds_in_its_other_size(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = [livesam.embed(tmp_path, tmp_path / "e", runtime="torch", size=size) for size in (1024, 512, 1024)]
    assert [(each.encoded, each.found) for each in done] == [(1, 0), (1, 0), (0, 1)]
    session = livesam.open_session(runtime="torch", size=1024, embeddings=tmp_path / "e")
    assert session.set_image(photo).features.shape == (1, 256, 64, 64)
    session.close()
    with pytest.raises(ValueError, match="nano has no size 768: it takes 512 or 1024 px"):
        livesam.open_session(size=768)


def test_an_export_has_the_suffix_and_the_size_of_its_program(session: livesam.Session, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cvat-onnx writes a file that ends in \.onnx, got '.*decoder\.pth'"):
        livesam.export_decoder(session, "cvat-onnx", tmp_path / "decoder.pth")
    assert livesam.export_decoder(session, "cvat-onnx", tmp_path / "decoder.onnx").image_size == 1024


def test_a_folder_is_embedded_and_bad_files_are_named(tmp_path: Path, photo: np.ndarray) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(photo).save(photos / "good.png")
    (photos / "bad.png").write_bytes(b"no image")
    done = livesam.embed(photos, tmp_path / "embeddings")
    assert (done.encoded, done.found) == (1, 0)
    assert [path.name for path in done.left_out] == ["bad.png"]
    assert livesam.embed(photos, tmp_path / "embeddings").found == 1
    session = livesam.open_session(embeddings=tmp_path / "embeddings")
    session.set_image(photos / "good.png")
    assert session.click(20, 20).mask.shape == photo.shape[:2]
    session.close()
