"""A run of ``livesam.benchmarks.gpu`` as Markdown: ``python -m livesam.benchmarks.reports.gpu_table FILE``.

Times are medians in milliseconds; each peer's says how many times longer it takes. What did not run is listed below.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Sections = Mapping[str, Mapping[str, Any]]
HEAD = ("model", "what", "p50", "p95", "p99", "first call", "official, eager", "official, compiled")
PEERS = ("peer/eager", "peer/compiled")


def gpu_table(report: Mapping[str, Any]) -> str:
    """Times beside the peers', then what is not a time, then what did not run and why."""
    sections: Sections = report["sections"]
    models = list(dict.fromkeys(name.partition("/")[0] for name in sections if "/" in name))
    rows = [row for model in models for row in _times(model, sections)]
    lines = [_where(report), "", *_markdown(HEAD, rows), ""]
    facts = [fact for model in models for fact in _facts(model, sections)]
    if facts:
        lines += [*_markdown(("model", "what", "value"), facts), ""]
    lines += [f"- {name}: {reason}" for name, reason in _not_run(report)]
    return "\n".join(lines).rstrip()


def _where(report: Mapping[str, Any]) -> str:
    device = report["device"]
    torch = f"PyTorch {device['torch']}"
    parts = [str(device.get("name", device["device"])), torch, f"{report['seconds']:g} s"]
    return ", ".join([*parts, "tiny measurements (--quick), no figures"] if report.get("quick") else parts)


def _times(model: str, sections: Sections) -> Iterator[tuple[str, ...]]:
    def peers(key: str, prompts: int | None = None) -> list[Mapping[str, Any] | None]:
        found = []
        for peer in PEERS:
            section = sections.get(f"{model}/{peer}", {})
            rows = {row["prompts"]: row for row in section.get("prompts", ())}
            found.append(section.get(key) if prompts is None else rows.get(prompts))
        return found

    encode = sections.get(f"{model}/encode", {})
    for key, what in (("12_mpx", "encode 12 Mpx"), ("1_mpx", "encode 1 Mpx"), ("model_size", "encode, model's size")):
        if key in encode:
            yield _row(model, what, encode[key], peers(f"set_image_{key}"))
    if "set_image_large" in encode:
        yield _row(
            model, "set_image of the large photo, with its hash", encode["set_image_large"], peers("set_image_12_mpx")
        )
    compiled = sections.get(f"{model}/encode_compiled", {})
    if "p50_ms" in compiled:
        what = f"encode 1 Mpx, torch.compile ({compiled['compile_s']:.0f} s)"
        yield _row(model, what, compiled, peers("set_image_1_mpx"))
    only = sections.get(f"{model}/encode_only", {})
    if "p50_ms" in only:
        yield _row(model, "encode 1 Mpx", only, [only["eager_network"], None])
    click = sections.get(f"{model}/click", {})
    if "p50_ms" in click:
        yield _row(model, "click", click, peers("", 1))
    looked = sections.get(f"{model}/looked_click", {})
    for key in ("first", "later"):
        if key in looked:
            yield _row(model, f"click with zoom, obey, edges: {key}", looked[key], [None, None])
    for row in sections.get(f"{model}/prompts", {}).get("rows", ()):
        if row["prompts"] > 1:
            yield _row(model, f"{row['prompts']} prompts", row, peers("", row["prompts"]))


def _row(model: str, what: str, ours: Mapping[str, Any], peers: list[Mapping[str, Any] | None]) -> tuple[str, ...]:
    cells = [_ms(ours.get(key)) for key in ("p50_ms", "p95_ms", "p99_ms", "first_ms")]
    for peer in peers:
        times = "" if peer is None else f"{_ms(peer['p50_ms'])} ({peer['p50_ms'] / ours['p50_ms']:.1f}x)"
        cells.append(times or "-")
    return (model, what, *cells)


def _facts(model: str, sections: Sections) -> Iterator[tuple[str, ...]]:
    parity = sections.get(f"{model}/parity", {})
    if "embedding_error" in parity:
        yield model, "embedding, distance from fp32 on the CPU", f"{parity['embedding_error']:.2g}"
        iou = parity["shown_iou"]
        weights = f"{parity['weights']} weights"
        yield model, f"masks' IoU with fp32 on the CPU, {weights}", f"mean {iou['mean']:.4f}, least {iou['min']:.4f}"
    swap = sections.get(f"{model}/swap", {})
    if "stall_ms" in swap:
        yield model, "swap: longest wait of a click", f"{_ms(swap['stall_ms'])} ms"
        yield model, "swap: from weights to service", f"{_ms(swap['swap_ms']['p50'])} ms"
    elif "refused" in swap:
        yield model, "swap", f"refused: {swap['refused']}"
    learning = sections.get(f"{model}/learning", {})
    if learning.get("ratios"):
        ratios, counts = learning["ratios"], learning["learner"]["counts"]
        yield model, "click with learning over without", f"p50 {ratios['p50']:.2f}, p99 {ratios['p99']:.2f}"
        told = [f"{counts.get(word, 0)} {word.replace('_', ' ')}" for word in ("steps", "published", "publish_failed")]
        yield model, "learner meanwhile", ", ".join(told)
    for name, what in ((f"{model}/throughput", "images/s by batch"), (f"{model}/peer/eager", "official network's")):
        rows = [r for r in sections.get(name, {}).get("rows" if "through" in name else "network", ()) if "batch" in r]
        rates = [f"{r['batch']}: {r['images_per_s']:.4g}" for r in rows if "images_per_s" in r]
        if rates:
            yield model, what, ", ".join(rates)
    for form, found in sections.get(f"{model}/peer/sdpa", {}).items():
        if isinstance(found, Mapping):
            what = f"official network with SDPA, {form}"
            yield model, what, f"{_ms(found['p50_ms'])} ms (first call {_ms(found['first_ms'])})"


def _not_run(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, reason in report.get("not_run", {}).items():
        yield name, f"not run: {reason}"
    for name, section in report["sections"].items():
        for word in ("skipped", "error"):
            if word in section:
                yield name, f"{word}: {section[word]}"


def _ms(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m livesam.benchmarks.reports.gpu_table", description=__doc__)
    parser.add_argument("report", type=Path, help="what livesam.benchmarks.gpu wrote")
    given = parser.parse_args(arguments)
    sys.stdout.write(gpu_table(json.loads(given.report.read_text())) + "\n")


if __name__ == "__main__":
    main()
