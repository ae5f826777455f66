"""What a replica has and what it costs: figures with their origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

H100 = "benchmarks/results/gpu_h100.json (one H100, 16 cores, PyTorch)"
PRICE = "an assumption: a round figure of on-demand offers; give --price-cpu and --price-gpu"
SERVER_MS = 1.8  # of a server's Python around a click: queue and pack of page_latency.json, medians
LATE_MS = 20.0  # a look at a window that is there takes 0.6, to encode it 90 and more
LIKE = 101  # samples that stand for a distribution of which two percentiles are known


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds of work, without any wait.

    Attributes:
        clicks: to draw from, each the host's part (obey, edges, drawing) and the decoder's.
        encodes: of a window or an image.
        server_ms: of the server's Python around a click.
        open_ms: of the host, when an image is opened.
        windows, late: windows that a click has encoded, before it or in it; and the share of clicks that find theirs
            neither made nor begun.
        lessons_ms: of the host, of an accepted object: on a CPU all of it, on a GPU the swap.
        steps, step_ms: of the GPU, of an accepted object: the mean step.
        origin: of the figures.
    """

    clicks: tuple[tuple[float, float], ...]
    encodes: tuple[float, ...]
    server_ms: float
    open_ms: float
    windows: float
    late: float
    lessons_ms: float
    steps: int
    step_ms: float
    origin: str

    def told(self) -> dict[str, object]:
        """For people: means in place of samples."""
        host, decoder = np.mean(self.clicks, axis=0)
        means = {"click_host_ms": host, "click_decoder_ms": decoder, "encode_ms": np.mean(self.encodes)}
        rest = {name: value for name, value in asdict(self).items() if name not in ("clicks", "encodes")}
        return {**{name: round(float(value), 2) for name, value in means.items()}, **rest}


@dataclass(frozen=True, slots=True)
class Machine:
    """One replica: a machine with a server on it.

    Attributes:
        cores, gpu: what works; one card at most.
        processes: with sessions in them; each runs Python on one core at a time.
        costs: of the work.
        sessions, domains: that one process allows (``Limits`` in app/server/settings.py; ``serve --ray``: 128 and 64).
        memory_mib, base_mib: of the machine, and of its processes without a session.
        per_user_mib: a decoder of one's own with its lessons at their bound, and a session.
        network_mbit: of its link.
        price: an hour, in dollars.
    """

    name: str
    cores: int
    gpu: bool
    processes: int
    costs: Costs
    sessions: int
    domains: int
    memory_mib: int
    base_mib: int
    per_user_mib: float
    network_mbit: int
    price: float

    def to_json(self) -> dict[str, object]:
        rest = {name: value for name, value in asdict(self).items() if name != "costs"}
        return {**rest, "costs": self.costs.told(), "price_origin": PRICE}


def machines(alone: Mapping[str, Any], h100: Mapping[str, Any], page: Mapping[str, Any]) -> list[Machine]:
    """Two cores as measured by ``alone``, and an H100 as in its result.

    A decoder of one's own takes 50 MiB, its lessons up to 256 (docs/serving.md).

    Args:
        page: page_latency.json, for how often a click's window is not there: 50 clicks of ``alone`` are too few.
    """
    cpu = replace(cpu_costs(alone, "near"), late=late_of(page))
    gpu = gpu_costs(h100["sections"], cpu)
    return [
        Machine("2 cores", 2, False, 1, cpu, 32, 16, 8192, 700, 306.0, 5_000, 0.10),
        Machine("H100, 16 cores", 16, True, 8, gpu, 128, 64, 131_072, 8 * 2500, 306.0, 25_000, 3.00),
    ]


def cpu_costs(alone: Mapping[str, Any], stream: str) -> Costs:
    """The processor times of ``alone``, and one of its streams."""
    one = alone["streams"][stream]
    clicks = tuple((row["host"], row["decode"]) for row in one["click_ms"])
    encodes, opens, lessons = (
        [row["cpu"] for row in rows] for rows in (alone["encode_ms"], alone["open_ms"], alone["lesson"]["object_ms"])
    )
    late, windows = one["late_share"], one["windows_a_click"]
    origin = "benchmarks/results/capacity_measured.json (two AVX2 cores, shared with other programs)"
    opening, learning = float(np.mean(opens)), float(np.mean(lessons))
    return Costs(clicks, tuple(encodes), SERVER_MS, opening, windows, late, learning, 0, 0.0, origin)


def late_of(page: Mapping[str, Any]) -> float:
    """Share of a page's clicks that waited for a window."""
    waited = [sample["zoom"] > LATE_MS for sample in page["samples"]]
    return round(sum(waited) / len(waited), 3)


def gpu_costs(sections: Mapping[str, Any], cpu: Costs) -> Costs:
    """An H100's, with windows as on CPUs. Of a click, the card has what decodes and draws; the rest is the host's.

    Of a step's time the median and the largest of 256 are known: the mean is that of the log-normal through both.
    """
    click, learned = sections["nano/looked_click"], sections["nano/learning"]["learner"]
    stages = click["stages_ms"]
    card = (stages["decode"] + stages["postprocess"]) / stages["total"]
    totals = like(click["later"]["p50_ms"], click["later"]["p99_ms"])
    encode = sections["nano/encode"]["1_mpx"]
    middle, top = learned["step_ms"]
    step = middle * float(np.exp((np.log(top / middle) / 2.66) ** 2 / 2))  # 1 of 256: 2.66 deviations
    opening = sections["nano/encode"]["set_image_large"]["p50_ms"]
    objects = learned["methods"]["default"]
    return Costs(
        tuple((one * (1 - card), one * card) for one in totals), like(encode["p50_ms"], encode["p99_ms"]), SERVER_MS,
        opening, cpu.windows, cpu.late, sections["nano/swap"]["swap_ms"]["p50"],
        round(objects["object_steps"] / objects["accepted"]), round(step, 2), f"{H100}; windows: two cores",
    )  # fmt: skip


def like(median: float, top: float) -> tuple[float, ...]:
    """Samples of a log-normal with this median and 99th percentile."""
    from statistics import NormalDist

    spread = np.log(top / median) / 2.326
    places = (NormalDist().inv_cdf((i + 0.5) / LIKE) for i in range(LIKE))
    return tuple(float(median * np.exp(spread * place)) for place in places)
