"""Quality under simulated clicks: any method, over any sets, resumable, as one JSON.

``livesam eval SET... --data DIR --method frozen`` runs it from the console. The protocol is RITM's and the papers'
(``adapter/oracle.py``, ``benchmarks/quality/protocol.py``):

* Objects come in an order that the seed decides; the order is part of the result. Once weights persist, order matters.
* An object stops at the target IoU or at the click limit; a finished object holds its last IoU in the means after more
  clicks, for every method alike. 85 / 20 and 90 / 30 are two runs, because the stop decides what a method learns from.
* Every set starts from the base weights.
* On the CPU the figures are the same at every repetition with the same number of threads; times are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from livesam.benchmarks.quality.datasets import ObjectRef, objects
from livesam.benchmarks.quality.metrics import mean_of, seconds, summarise, thirds
from livesam.benchmarks.quality.protocol import ObjectRecord, Predictor, check_stop_rule, noc
from livesam.benchmarks.quality.records import RecordStore
from livesam.benchmarks.quality.result import FORMAT
from livesam.benchmarks.quality.settings import Settings
from livesam.benchmarks.quality.side_by_side import MakePredictor, evaluated, side_by_side


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands, after every object; ``noc`` and ``fr`` are those of the set so far."""

    dataset: str
    done: int
    total: int
    noc: float
    fr: float


def run(
    sets: Sequence[Path],
    predictor: Predictor,
    settings: Settings,
    records: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    *,
    processes: int = 1,
    make: MakePredictor | None = None,
) -> dict[str, Any]:
    """Evaluate a predictor over sets and return the result, ready for ``json.dump``.

    With ``records`` every object is written there as soon as it is done, and a later call with the same settings goes
    on from there: finished sets are not run again; an unfinished set goes on with its next object if the predictor does
    not adapt, and starts again from the base weights if it does, so the figures are those of an uninterrupted run.

    Args:
        processes: sets that are evaluated side by side, each whole or not at all; needs ``make``.
        make: another predictor like the one given, in another process.

    Raises:
        ValueError: a folder is not a data set or has no object, two sets share a name, the stop rule is out of range,
            or ``records`` belongs to a run with other settings or other data.
    """
    check_stop_rule(settings.target_iou, settings.max_clicks)
    names = [folder.name for folder in sets]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"name at least one set and each once, got {names}")
    store = RecordStore(asdict(settings), records)
    chosen = (settings.min_area, settings.limit, settings.seed, None, settings.only)
    found = {folder.name: objects(folder, *chosen) for folder in sets}
    for name, references in found.items():
        if not references:
            raise ValueError(f"{name} has no object of at least {settings.min_area:.2%} of its image: lower min_area")
    if processes > 1:
        if make is None:
            raise ValueError("several processes need make, which opens a predictor in each of them")
        fresh = {name: found[name] for name in names if not store.records(name)}
        for name, records_of_set, stats in side_by_side(fresh, make, settings, processes):
            _take(name, records_of_set, stats, store)
            if progress is not None:
                progress(_progress(name, records_of_set, len(records_of_set), settings))
    for name, references in found.items():
        _run_set(name, references, predictor, settings, store, progress)
    return result(names, settings, store)


def result(names: Sequence[str], settings: Settings, store: RecordStore) -> dict[str, Any]:
    """The result of finished sets: the figures, the objects in their order, and what the predictor counted."""
    target, limit = settings.target_iou, settings.max_clicks
    by_set = {name: store.records(name) for name in names}
    sets = {
        name: {
            **summarise(records, target, limit),
            "thirds": thirds(records, target, limit),
            "seconds": seconds(records),
            "stats": store.finished(name),
            "sequence": [_compact(record, target, limit) for record in records],
        }
        for name, records in by_set.items()
    }
    everything = [record for records in by_set.values() for record in records]
    return {
        "format": FORMAT,
        **asdict(settings),
        "sets": sets,
        "mean": mean_of(list(sets.values())),
        "pooled": summarise(everything, target, limit),
        "seconds": seconds(everything),
    }


def _run_set(
    name: str,
    references: Sequence[ObjectRef],
    predictor: Predictor,
    settings: Settings,
    store: RecordStore,
    progress: Callable[[Progress], None] | None,
) -> None:
    if store.finished(name) is None and predictor.adapts and store.records(name):
        store.restart(name)
    done = store.records(name)
    if [r.name for r in done] != [reference.name for reference in references[: len(done)]]:
        raise ValueError(f"the recorded objects of {name} are not those of the data: remove {store.path} to start anew")
    if store.finished(name) is not None:
        if len(done) != len(references):
            raise ValueError(f"{name} has {len(references)} objects and {len(done)} records: remove {store.path}")
        return
    predictor.begin_set(name, settings.seed)
    for record in evaluated(references[len(done) :], predictor, settings):
        store.add(name, record)
        done.append(record)
        if progress is not None:
            progress(_progress(name, done, len(references), settings))
    store.finish(name, predictor.stats())


def _take(name: str, records: Sequence[ObjectRecord], stats: Mapping[str, Any], store: RecordStore) -> None:
    for record in records:
        store.add(name, record)
    store.finish(name, stats)


def _progress(name: str, done: Sequence[ObjectRecord], total: int, settings: Settings) -> Progress:
    counts = [noc(r.ious, settings.target_iou, settings.max_clicks) for r in done]
    failed = sum(not r.reached for r in done)
    return Progress(name, len(done), total, sum(counts) / len(done), failed / len(done))


def _compact(record: ObjectRecord, target_iou: float, max_clicks: int) -> dict[str, Any]:
    return {
        "object": record.name,
        "noc": noc(record.ious, target_iou, max_clicks),
        "reached": record.reached,
        "ious": [round(value, 4) for value in record.ious],
    }
