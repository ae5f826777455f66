"""A person's job: so many objects of a data set, from nothing to a COCO file, through the page."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from livesam.benchmarks.page.browser import browser
from livesam.benchmarks.page.person import Person
from livesam.benchmarks.quality.datasets import ObjectRef, objects
from livesam.benchmarks.serving.served import Served
from livesam.engine.values.errors import LivesamError


def do_job(dataset: Path, count: int, person: Person, work: Path) -> dict[str, Any]:
    """Annotate one object on each of ``count`` images, and fetch the COCO file.

    Args:
        dataset: a data set's folder; of a cell with two objects the whole cell is taken.
        work: an empty folder.

    Raises:
        ValueError: the set has not so many images.
        LivesamError: the file is not what was accepted.
    """
    chosen = one_an_image(objects(dataset), count)
    folder = work / "images"
    folder.mkdir()
    for at, one in enumerate(chosen):
        shutil.copyfile(one.image_path, folder / f"{at:02d}{one.image_path.suffix}")
    began = time.perf_counter()
    done: list[dict[str, Any]] = []
    with Served(folder, work / "out") as served:
        ready_s = time.perf_counter() - began
        with browser() as chrome, chrome.visit(served.url) as visitor:
            visitor.settled()
            for one in chosen:
                begun = time.perf_counter()
                clicks, found = person.annotate(visitor, one.load().truth)
                done.append({"object": one.name, "clicks": clicks, "iou": found, "s": time.perf_counter() - begun})
                if one is not chosen[-1]:
                    visitor.key("Shift+D")
            coco = json.loads(served.read("/api/export/coco"))
            learned = served.json("/api/learning")
    if len(coco["annotations"]) != len(chosen):
        raise LivesamError(f"{len(chosen)} objects were accepted, and the COCO file has {len(coco['annotations'])}")
    return {
        "dataset": dataset.name, "objects": done, "start_s": ready_s, "total_s": time.perf_counter() - began,
        "version": learned["version"], "refused": len(learned["refused"]), "pause_s": person.pause_s,
        "good_enough": person.good_enough,
    }  # fmt: skip


def one_an_image(found: list[ObjectRef], count: int) -> list[ObjectRef]:
    """The first so many that are of different images; of a cell and its nucleus the cell.

    Raises:
        ValueError: there are not so many.
    """
    kept: dict[Path, ObjectRef] = {}
    for one in found:
        if not one.name.endswith("#nucleus"):
            kept.setdefault(one.image_path, one)
    if len(kept) < count:
        raise ValueError(f"{count} images are wanted, the set has {len(kept)}")
    return list(kept.values())[:count]


def lines(result: dict[str, Any]) -> list[str]:
    """For people."""
    clicks = [one["clicks"] for one in result["objects"]]
    mean_iou = sum(one["iou"] for one in result["objects"]) / len(clicks)
    ends = min(5, len(clicks))
    return [
        f"{len(clicks)} objects of {result['dataset']} in {result['total_s']:.0f} s, server start to COCO file",
        f"clicks an object: {sum(clicks) / len(clicks):.1f}; the first {ends}: {sum(clicks[:ends]) / ends:.1f}, "
        f"the last {ends}: {sum(clicks[-ends:]) / ends:.1f}",
        f"mean IoU with the truth {mean_iou:.3f}; a pause of {result['pause_s']:g} s before each click",
    ]
