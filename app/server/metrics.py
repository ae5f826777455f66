"""What is counted, for Prometheus."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1.0, 2.0, 5.0)


def shown(domain: str) -> str:
    """A domain's name where others read it: whoever knows what is behind an ``@`` may use that decoder."""
    name, at, private = domain.partition("@")
    return name + at + (hashlib.sha256(private.encode()).hexdigest()[:12] if at else "")


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("livesam_http_requests", "HTTP requests", ["method", "status"], registry=self.registry)
        self.operations = Counter(
            "livesam_operations", "What sessions were asked", ["op", "outcome"], registry=self.registry
        )
        self.clicks = Counter("livesam_clicks", "Clicks and boxes that were answered", registry=self.registry)
        self.click_seconds = Histogram(
            "livesam_click_seconds", "Answering a click, or finding its press's answer", buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.press_seconds = Histogram(
            "livesam_press_seconds", "Answering a button that is down, before its click", buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.open_seconds = Histogram(
            "livesam_open_seconds", "To open an image", buckets=BUCKETS, registry=self.registry
        )
        self.sessions = Gauge("livesam_sessions", "Sessions that are open", registry=self.registry)
        self.accepted = Counter("livesam_accepted", "Objects that were accepted", registry=self.registry)
        self.learning = {
            name: Gauge(f"livesam_{name}", said, ["domain"], registry=self.registry)
            for name, said in (
                ("learned", "Interactions that were learned from since the start"),
                ("published", "Decoders that learning put into service since the start"),
                ("refused", "Decoders that the guard refused since the start"),
                ("waiting", "Interactions that wait to be learned from"),
                ("version", "The decoder's version that serves"),
            )
        }

    @contextlib.contextmanager
    def asked(self, op: str) -> Iterator[None]:
        """For the length of an answer."""
        started, outcome = time.perf_counter(), "error"
        try:
            yield
            outcome = "ok"
        finally:
            self.operations.labels(op, outcome).inc()
        if op in ("click", "box"):
            self.clicks.inc()
            self.click_seconds.observe(time.perf_counter() - started)
        if op == "press":
            self.press_seconds.observe(time.perf_counter() - started)

    def forget(self, domain: str) -> None:
        """A domain's decoder is closed."""
        for gauge in self.learning.values():
            with contextlib.suppress(KeyError):  # nobody has asked for it yet
                gauge.remove(shown(domain))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)
