"""``livesam eval`` with GrabCut, which needs no weights, and with adapted decoders."""

import json

import cv2
import numpy as np
import pytest
import typer
from livesam.app.arguments import parse_settings
from livesam.app.commands.evaluate import evaluate
from livesam.benchmarks.quality.datasets import resolve_sets
from livesam.benchmarks.quality.result import read_result
from livesam.engine.files.hashing import weights_hash
from livesam.engine.models.adapted import load_adapted, write_adapted
from livesam.engine.models.loading import decoder_weights, load
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError
from livesam.export.foreign.merge import merge_adapted
from typer.testing import CliRunner

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(evaluate)


@pytest.fixture
def data(tmp_path):
    for name in ("nov_a", "nov_b", "other"):
        folder = tmp_path / "data" / name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        for i in range(2):
            ids = np.zeros((24, 32), np.uint8)
            ids[4:16, 4 : 16 + i] = 1
            image = np.random.default_rng(i).integers(0, 60, (24, 32, 3), np.uint8)
            image[ids > 0] += 150
            cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
            cv2.imwrite(str(folder / "masks" / f"{i}.png"), ids)
    return tmp_path / "data"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_writes_json_table_and_pictures_and_goes_on_after_a_kill(data, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "r.json"
    arguments = ["nov_*", "--data", data, "--method", "grabcut", "--max-clicks", "4", "--json", out]
    arguments += ["--plot", tmp_path / "iou.png", "--learning-plot", tmp_path / "learning.png"]
    first = invoke(*arguments)
    assert first.exit_code == 0, first.output
    result = json.loads(out.read_text())
    assert list(result["sets"]) == ["nov_a", "nov_b"]
    assert result["method"] == "grabcut"
    assert result["mean"]["iou_at"]["1"] > 0.8
    assert result["mean"]["fr"] == 0.0
    for name in ("nov_a", "nov_b", "mean of sets"):
        assert name in first.output
    assert (tmp_path / "iou.png").stat().st_size > 1000
    assert (tmp_path / "learning.png").stat().st_size > 1000
    diary = out.with_suffix(".jsonl")
    lines = diary.read_text().splitlines(keepends=True)
    diary.write_text("".join(lines[:3]))
    assert invoke(*arguments).exit_code == 0
    again = json.loads(out.read_text())
    assert [s["sequence"] for s in again["sets"].values()] == [s["sequence"] for s in result["sets"].values()]
    assert invoke(*arguments, "--seed", "5").exit_code != 0  # the diary is of another run
    assert invoke(*arguments, "--seed", "5", "--fresh").exit_code == 0


def test_other_results_join_the_table(data, tmp_path):
    common = ["nov_a", "--data", data, "--method", "grabcut", "--max-clicks", "2"]
    assert invoke(*common, "--json", tmp_path / "before.json").exit_code == 0
    shown = invoke(*common, "--compare", tmp_path / "before.json")
    assert shown.exit_code == 0
    assert "before" in shown.output


def test_sets_by_name_pattern_and_path(data):
    assert [p.name for p in resolve_sets(["other", "nov_*", "nov_a"], data)] == ["other", "nov_a", "nov_b"]
    assert resolve_sets([str(data / "other")], data / "nowhere") == [data / "other"]
    with pytest.raises(ValueError, match="which holds nov_a, nov_b, other"):
        resolve_sets(["missing"], data)


def test_overrides_take_the_types_of_the_configuration():
    parsed = parse_settings("paper", ["lr=1e-4", "reset=false", "erosion=4"])
    assert parsed == {"lr": 1e-4, "reset": False, "erosion": 4}
    for bad in ("lr", "lr=fast", "reset=no", "nothing=1"):
        with pytest.raises(ValueError, match="--set"):
            parse_settings("paper", [bad])


def test_a_file_that_is_no_result_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="not a result"):
        read_result(tmp_path / "x.json")
    with pytest.raises(ValueError, match="cannot be read"):
        read_result(tmp_path / "y.json")


def test_merged_decoder_is_measured_named_and_part_of_the_resume_key(data, tmp_path):
    base = decoder_weights(load("nano"))
    files = [
        tmp_path / name for name in ("a.safetensors", "b.safetensors", "merged.safetensors", "foreign.safetensors")
    ]
    for i, path in enumerate(files[:2]):
        noise = np.random.default_rng(i)
        learned = {k: v + 0.05 * noise.standard_normal(v.shape).astype(np.float32) for k, v in base.items()}
        write_adapted(path, learned, base, AdaptedInfo(model="nano", method="live"))
    merge_adapted(files[:2], base, files[2])
    other = {k: v + 1 for k, v in base.items()}
    write_adapted(files[3], other, other, AdaptedInfo(model="nano", method="live"))

    def measured(name, *options):
        common = ["nov_a", "--data", data, "--limit", "1", "--max-clicks", "2", "--json", tmp_path / name]
        return invoke(*common, *options)

    for name, options in (("base.json", ()), ("merged.json", ("--adapted", files[2]))):
        outcome = measured(name, *options)
        assert outcome.exit_code == 0, outcome.output
    plain, merged = (json.loads((tmp_path / name).read_text()) for name in ("base.json", "merged.json"))
    assert "adapted" not in plain["details"]
    found = merged["details"]["adapted"]
    assert found["file"] == "merged.safetensors"
    assert found["weights"] == weights_hash(load_adapted(files[2], base))
    assert found["base"] == weights_hash(base)
    ious = [result["sets"]["nov_a"]["sequence"] for result in (plain, merged)]
    assert ious[0] != ious[1]
    outcome = measured("merged.json", "--adapted", files[0])
    assert isinstance(outcome.exception, ValueError)  # the diary is the merged decoder's
    outcome = measured("foreign.json", "--adapted", files[3])
    assert isinstance(outcome.exception, CheckpointError)
    assert "belongs to another base" in str(outcome.exception)
    outcome = measured("grabcut.json", "--adapted", files[2], "--method", "grabcut")
    assert "no decoder" in str(outcome.exception)
