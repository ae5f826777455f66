"""Sets evaluated in processes of their own: each begins at the base weights, so nothing is shared between them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from livesam.benchmarks.quality.datasets import ObjectRef
from livesam.benchmarks.quality.protocol import ObjectRecord, Predictor, evaluate_object
from livesam.benchmarks.quality.settings import Settings

MakePredictor = Callable[[], Predictor]  # picklable: a module's function, or functools.partial of one


def evaluated(references: Sequence[ObjectRef], predictor: Predictor, settings: Settings) -> Iterator[ObjectRecord]:
    """One object of a set after the other, on a predictor that has begun the set."""
    for reference in references:
        yield evaluate_object(predictor, reference.name, reference.load(), settings.target_iou, settings.max_clicks)


def side_by_side(
    sets: Mapping[str, Sequence[ObjectRef]], make: MakePredictor, settings: Settings, processes: int
) -> Iterator[tuple[str, list[ObjectRecord], dict[str, Any]]]:
    """Every set's records and what its predictor counted, in the order in which sets are done.

    Each process has its share of the processor's cores; the figures are those of one process with as many threads.

    Raises:
        ValueError: fewer than one process.
    """
    if processes < 1:
        raise ValueError(f"at least one process is needed, got {processes}")
    threads = max(1, (os.cpu_count() or 1) // processes)
    spawn = multiprocessing.get_context("spawn")  # a forked process inherits locks of threads that it has not got
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=(threads,)) as pool:
        waiting = {pool.submit(_whole_set, name, refs, make, settings): name for name, refs in sets.items()}
        try:
            for done in as_completed(waiting):
                records, stats = done.result()
                yield waiting[done], records, stats
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its workers, which would finish their sets for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _whole_set(
    name: str, references: Sequence[ObjectRef], make: MakePredictor, settings: Settings
) -> tuple[list[ObjectRecord], dict[str, Any]]:
    predictor = make()
    predictor.begin_set(name, settings.seed)
    return list(evaluated(references, predictor, settings)), predictor.stats()
