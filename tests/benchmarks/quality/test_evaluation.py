"""Whole runs over small sets: schema, resumption, determinism, and the two kinds of predictor with a real decoder."""

import json
import subprocess
import sys

import cv2
import numpy as np
import psutil
import pytest
from livesam.benchmarks.quality.evaluation import Progress, run
from livesam.benchmarks.quality.grabcut import GrabCutPredictor
from livesam.benchmarks.quality.settings import Settings
from livesam.benchmarks.quality.side_by_side import side_by_side


@pytest.fixture
def two_sets(tmp_path):
    folders = []
    for name, count in (("alpha", 3), ("beta", 2)):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        for i in range(count):
            ids = np.zeros((24, 32), np.uint8)
            ids[2:12, 2 : 12 + i] = 1
            ids[14:22, 5:25] = 2
            image = np.random.default_rng(i).integers(0, 255, (24, 32, 3), np.uint8)
            image[ids > 0] //= 4
            cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
            cv2.imwrite(str(folder / "masks" / f"{i}.png"), ids)
        folders.append(folder)
    return folders


class Disks:
    """Draws disks at the clicks; as an adapting one their radius grows with every accepted object of the set."""

    def __init__(self, adapts=False, stop_after=None):
        self.adapts, self.radius, self.finished, self.stop_after = adapts, 4, 0, stop_after

    def begin_set(self, name, seed):
        self.radius, self.seen = 4, 0

    def begin_image(self, image):
        self.hw = image.shape[:2]

    def begin_object(self): ...

    def click(self, clicks):
        if self.stop_after is not None and self.finished >= self.stop_after:
            raise KeyboardInterrupt
        mask = np.zeros(self.hw, np.uint8)
        for click in clicks:
            cv2.circle(mask, (int(click.x), int(click.y)), self.radius, int(click.positive), -1)
        return mask > 0

    def after_click(self, clicks, last): ...

    def finish_object(self, clicks, accepted):
        self.finished += 1
        self.seen += 1
        if self.adapts:
            self.radius += 1

    def stats(self):
        return {"seen": self.seen}


SETTINGS = Settings("disks", "none", seed=3, target_iou=0.7, max_clicks=6)


def without_times(result):
    """The part of a result that must be the same at every repetition."""
    copy = json.loads(json.dumps(result))
    copy.pop("seconds")
    for figures in copy["sets"].values():
        figures.pop("seconds")
        figures.pop("stats")
    return copy


def test_schema_and_order(two_sets):
    seen = []
    result = json.loads(json.dumps(run(two_sets, Disks(), SETTINGS, progress=seen.append)))
    assert {k: result[k] for k in ("method", "model", "seed", "target_iou", "max_clicks")} == {
        "method": "disks",
        "model": "none",
        "seed": 3,
        "target_iou": 0.7,
        "max_clicks": 6,
    }
    assert list(result["sets"]) == ["alpha", "beta"]
    for figures, objects in ((result["sets"]["alpha"], 6), (result["sets"]["beta"], 4), (result["mean"], 10)):
        assert figures["objects"] == objects
        assert set(figures["iou_at"]) == {"1", "3", "5", "10", "20"}
        assert {"noc", "fr"} <= set(figures)
    sequence = result["sets"]["alpha"]["sequence"]
    assert sorted(o["object"] for o in sequence) == ["0#1", "0#2", "1#1", "1#2", "2#1", "2#2"]
    assert result["sets"]["alpha"]["fr"] == np.mean([not o["reached"] for o in sequence])
    assert result["sets"]["alpha"]["noc"] == np.mean([o["noc"] for o in sequence])
    assert result["mean"]["noc"] == pytest.approx(np.mean([s["noc"] for s in result["sets"].values()]))
    assert [(p.dataset, p.done, p.total) for p in seen] == [
        *(("alpha", i, 6) for i in range(1, 7)),
        *(("beta", i, 4) for i in range(1, 5)),
    ]
    assert isinstance(seen[0], Progress)


@pytest.mark.parametrize("adapts", [False, True])
@pytest.mark.parametrize("stop_after", [1, 5, 6, 9])
def test_a_killed_run_goes_on_to_the_same_figures(two_sets, tmp_path, adapts, stop_after):
    diary = tmp_path / "run.jsonl"
    expected = run(two_sets, Disks(adapts), SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        run(two_sets, Disks(adapts, stop_after), SETTINGS, diary)
    with diary.open("a") as file:
        file.write('{"set":"beta","name":"half a li')  # a kill in the middle of a write
    second = Disks(adapts)
    resumed = run(two_sets, second, SETTINGS, diary)
    assert without_times(resumed) == without_times(expected)
    redone = {1: 1, 5: 5, 6: 0, 9: 3}[stop_after] if adapts else 0
    assert second.finished == 10 - stop_after + redone
    third = Disks(adapts, stop_after=0)
    assert without_times(run(two_sets, third, SETTINGS, diary)) == without_times(expected)


def test_adapting_runs_start_every_set_from_the_base(two_sets):
    together = run(two_sets, Disks(adapts=True), SETTINGS)
    alone = run(two_sets[1:], Disks(adapts=True), SETTINGS)
    assert together["sets"]["beta"]["sequence"] == alone["sets"]["beta"]["sequence"]


def test_a_diary_of_another_run_is_refused(two_sets, tmp_path):
    diary = tmp_path / "run.jsonl"
    run(two_sets, Disks(), SETTINGS, diary)
    before = diary.read_bytes()
    with pytest.raises(ValueError, match="seed is 3 there and 4 now"):
        run(two_sets, Disks(), Settings("disks", "none", seed=4, target_iou=0.7, max_clicks=6), diary)
    (two_sets[0] / "images" / "1.png").unlink()
    with pytest.raises(ValueError, match="not those of the data"):
        run(two_sets, Disks(), SETTINGS, diary)
    assert diary.read_bytes() == before
    diary.write_text("hello\n" * 3)
    with pytest.raises(ValueError, match="line 1 is damaged"):
        run(two_sets, Disks(), SETTINGS, diary)


def test_bad_runs_are_refused(two_sets):
    with pytest.raises(ValueError, match="each once"):
        run([two_sets[0], two_sets[0]], Disks(), SETTINGS)
    with pytest.raises(ValueError, match="lower min_area"):
        run(two_sets, Disks(), Settings("disks", "none", min_area=0.9))


def test_sets_side_by_side_come_to_the_same_figures(two_sets, tmp_path):
    settings = Settings("grabcut", "", target_iou=0.7, max_clicks=3)
    expected = run(two_sets, GrabCutPredictor(), settings)
    diary, seen = tmp_path / "run.jsonl", []
    made = {"processes": 2, "make": GrabCutPredictor}
    result = run(two_sets, GrabCutPredictor(), settings, diary, seen.append, **made)
    assert without_times(result) == without_times(expected)
    assert list(result["sets"]) == ["alpha", "beta"]
    assert {(at.dataset, at.done, at.total) for at in seen} == {("alpha", 6, 6), ("beta", 4, 4)}
    kept = diary.read_bytes()
    assert without_times(run(two_sets, GrabCutPredictor(), settings, diary, **made)) == without_times(expected)
    assert diary.read_bytes() == kept, "what is done is not done again"


def test_several_processes_need_to_know_how_to_open_a_predictor(two_sets):
    with pytest.raises(ValueError, match="need make"):
        run(two_sets, Disks(), SETTINGS, processes=2)
    with pytest.raises(ValueError, match="at least one process"):
        list(side_by_side({}, Disks, SETTINGS, 0))


PARENT = """
import multiprocessing, time
from livesam.benchmarks.quality.side_by_side import _end_with_parent
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=_end_with_parent)
    worker.start()
    print(worker.pid, flush=True)
    time.sleep(600)
"""


def test_workers_of_a_killed_run_do_not_go_on(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([worker], timeout=60)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
