"""Every example of docs/formats.md runs as it stands; random weights of small encoders stand in for official files."""

import re
import shlex
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from livesam.app.main import run
from livesam.benchmarks.latency import exports
from livesam.engine.models import loading as models
from livesam.engine.models import spec as specs
from livesam.engine.models.adapted import read_adapted, write_adapted
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.export.decoder_export import FORMATS
from livesam.export.formats import probes
from PIL import Image

TINY = (96, 3, 3, (1,))  # width, depth, heads, global blocks in the place of vit_b's 768, 12, 12


def sections(text):
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        title = section.splitlines()[0].strip() if not section.startswith("# ") else "introduction"
        yield title, re.findall(r"^```(console|python)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(request):
    return (request.config.rootpath / "docs" / "formats.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    base = models.decoder_weights(models.load("nano"))
    weights = {key: value + np.float32(1e-3) for key, value in base.items()}
    info = AdaptedInfo(model="nano", method="live", domain="cells", counts={"accepted": 3})
    write_adapted(folder / "cells.safetensors", weights, base, info)
    other = {key: value - np.float32(1e-3) for key, value in base.items()}
    info = AdaptedInfo(model="nano", method="live", domain="roads", counts={"accepted": 4})
    write_adapted(folder / "roads.safetensors", other, base, info)
    for name in ("images", "masks"):
        (folder / "data" / "mine" / name).mkdir(parents=True)
    picture = np.full((64, 80, 3), 40, np.uint8)
    picture[20:44, 20:60] = 200
    Image.fromarray(picture).save(folder / "data" / "mine" / "images" / "1.png")
    Image.fromarray((picture[..., 0] > 100).astype(np.uint8)).save(folder / "data" / "mine" / "masks" / "1.png")
    torch.save(models.build("vit_t").state_dict(), folder / "mobile_sam.pt")
    torch.save(models.load("nano").state_dict(), folder / "theirs.pth")
    return folder


@pytest.fixture(scope="module")
def namespace(photo):
    made = {"image": photo.copy()}
    yield made
    for name in ("session", "again"):
        if name in made:
            made[name].close()


@pytest.fixture
def small_vit_b(monkeypatch, folder):
    import segment_anything
    from segment_anything.build_sam import _build_sam

    monkeypatch.setitem(specs.VIT_SHAPES, "vit_b", TINY)
    width, depth, heads, blocks = TINY
    monkeypatch.setitem(
        segment_anything.sam_model_registry, "vit_b", partial(_build_sam, width, depth, heads, list(blocks))
    )
    if not (folder / "sam_vit_b_01ec64.pth").exists():
        torch.save(models.build("vit_b").state_dict(), folder / "sam_vit_b_01ec64.pth")


@pytest.fixture
def one_probe(monkeypatch):
    """Each export's own check on one prompt; that it holds on all of them is test_decoder_export's business."""
    defaults = probes.require_parity.__kwdefaults__
    monkeypatch.setattr(probes.require_parity, "__kwdefaults__", {**defaults, "probes": probes.PROBES[:1]})


def play(blocks, namespace):
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "formats.md", "exec"), namespace)
            continue
        for line in text.strip().splitlines():
            program, *arguments = shlex.split(line)
            if program == "python":
                assert arguments[:2] == ["-m", "livesam.benchmarks.latency.exports"]
                with pytest.raises(SystemExit) as ended:
                    exports.main([*arguments[2:], "--repeats", "0"])
                assert ended.value.code == 0
                continue
            assert program == "livesam"
            assert run(arguments) == 0, line


def test_every_format_has_its_section_with_an_example(page):
    found = dict(sections(page))
    for name in FORMATS:
        assert any(kind == "console" and f"--format {name} " in text for kind, text in found[name]), name
        assert f"| `{name}` |" in page


@pytest.mark.timeout(900)
def test_the_examples_run(page, folder, namespace, small_vit_b, one_probe, monkeypatch):
    monkeypatch.chdir(folder)
    played = []
    for title, blocks in sections(page):
        if title == "tensorrt":
            continue
        play(blocks, namespace)
        played += [title] if blocks else []
    assert set(FORMATS) - {"tensorrt"} <= set(played)
    assert namespace["mask"].shape == namespace["image"].shape[:2]
    assert len(namespace["weights"]) == 120
    assert namespace["manifest"].options["domain"] == "cells"
    assert namespace["outputs"].pred_masks.shape == (1, 1, 3, 256, 256)
    assert (folder / "repository" / "cells-decoder" / "2" / "model.onnx").is_file()
    assert read_adapted(folder / "together.safetensors").info.counts == {"accepted": 7}
    assert not [p.name for p in folder.rglob("*.tmp")]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed")
def test_the_tensorrt_example_runs(page, folder, namespace, monkeypatch):
    monkeypatch.chdir(folder)
    play(dict(sections(page))["tensorrt"], namespace)
    assert (folder / "decoder.plan").stat().st_size > 1e6
