"""Two processes at one folder: the second is refused, or both get what is theirs; neither loses the other's work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from livesam.adapter.learning.store import DecoderStore, Learned
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError

HOLDER = """
import sys
from pathlib import Path
from livesam.app.server.lock import only_here
with only_here(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_server_and_a_salvage_are_refused_while_one_serves(tmp_path: Path, filled, capsys) -> None:
    from livesam.app.main import run as livesam_command

    out = filled(3)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        for command in (["serve", str(tmp_path), "--out", str(out), "--port", "0"], ["salvage", str(out)]):
            assert livesam_command(command) == 1
            assert f"in use by another livesam serve (process {holder.pid})" in capsys.readouterr().err
        coco = tmp_path / "coco.json"
        assert livesam_command(["export", "annotations", str(out), "-f", "coco", "-o", str(coco)]) == 0
        assert len(json.loads(coco.read_text())["annotations"]) == 3
    finally:
        holder.communicate(timeout=30)


def test_learners_do_not_overwrite_each_other(tmp_path: Path) -> None:
    base = {"a": np.zeros((8, 4), np.float32)}

    def make() -> DecoderStore:
        return DecoderStore(tmp_path, base, AdaptedInfo(model="nano", method="live"), interval_s=0)

    def learned(by: float) -> Learned:
        return Learned(lambda: {"a": base["a"] + np.float32(by)})

    one, other = make(), make()
    assert one.offer("steel", learned(1))
    with pytest.raises(CheckpointError, match="another process"):
        other.offer("steel", learned(2))
    assert other.pending == ["steel"]
    assert one.offer("steel", learned(3))
    assert other.read("steel") is not None  # who has read it may go on from it
    assert other.flush() == ["steel"]
    with pytest.raises(CheckpointError, match="another process"):
        one.offer("steel", learned(4))
    found = make().load("steel")
    assert found is not None
    assert (found["a"] == 2).all()


def test_two_embeds_into_one_folder_keep_both_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from livesam.embedding import INDEX, embed_images
    from livesam.engine.runtimes.base import PreparedEncoder
    from livesam.export import opening as opens
    from livesam.export.opening import Opening
    from PIL import Image

    class Mean(PreparedEncoder):
        """The mean of the input as an embedding."""

        def _run(self, prepared: np.ndarray) -> np.ndarray:
            return np.full((1, 256, 4, 4), prepared.mean(), np.float32)

        def _free(self) -> None:
            pass

    monkeypatch.setattr(opens, "open_encoder", lambda opening: Mean(64, "mean", "mean:cpu:fp32"))
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)).save(path)
    out, opening = tmp_path / "out", Opening("nano", runtime="torch")

    def meanwhile(done: int, total: int) -> None:
        embed_images(paths[1:], out, opening)  # as another process would

    embed_images(paths[:1], out, opening, progress=meanwhile)
    assert sorted(json.loads((out / INDEX).read_text())) == sorted(map(str, paths))
