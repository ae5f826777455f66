"""What a replica needs for an answer, and what it costs: figures with their origin."""

from __future__ import annotations

from dataclasses import asdict, dataclass

H100 = "benchmarks/results/gpu_h100.json (one H100, 16 cores, PyTorch)"
CPU = "benchmarks/results/latency_nano.json (2 cores, AMD EPYC with AVX-512, OpenVINO and ONNX Runtime)"
PRICE = "an assumption: a round figure of on-demand offers; give --price-cpu and --price-gpu"


@dataclass(frozen=True, slots=True)
class Machine:
    """One replica: a machine with a server on it.

    Attributes:
        lanes, lane: how many answers are worked on at once: ``cores``, or ``processes`` that share a GPU.
        click_ms: median and 99th percentile of a click that waits for nobody: decoder, zoom, obey and edges.
        encode_ms: of an image or a window.
        step_ms: of a micro-step of learning.
        steps: of one accepted object.
        memory_mib: of the machine, and of one server process without a session.
        per_user_mib: a decoder of one's own with its lessons at their bound, and a session.
        network_mbit: of its link.
        price: an hour, in dollars.
        origin: of the times.
    """

    name: str
    lanes: int
    lane: str
    click_ms: tuple[float, float]
    encode_ms: tuple[float, float]
    step_ms: float
    steps: float
    memory_mib: int
    base_mib: int
    per_user_mib: float
    network_mbit: int
    price: float
    origin: str

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "price_origin": PRICE}


# Clicks with zoom, obey and edges: the later ones of "looked_click". 336 steps of 24 objects, and 512 of 34.
# A decoder of one's own takes 50 MiB, its lessons up to 256 (docs/serving.md, Limits in app/server/settings.py).
# On the GPU a process answers one click at a time (Python's lock); eight share the card, 2 GiB of it each.
MACHINES = (
    Machine("2 cores", 2, "cores", (7.0, 17.3), (22.0, 30.0), 28.8, 14.0, 8192, 700, 306.0, 5_000, 0.10, CPU),
    Machine(
        "H100, 16 cores",
        8,
        "processes",
        (7.5, 23.9),
        (1.4, 1.7),
        5.2,
        15.0,
        131_072,
        8 * 2500,
        306.0,
        25_000,
        3.00,
        H100,
    ),
)

MASK_BYTES = 30_000  # of an answer on the wire: a box of 400 x 600 pixels in bits
IMAGE_BYTES = 1_500_000  # of an image that the page shows


@dataclass(frozen=True, slots=True)
class Encoding:
    """One GPU and its share of a machine, at work on a folder of a million.

    Attributes:
        images_per_s: of the encoder, batches of 32.
        decode_ms: of an image file of 1 Mpx on one core; an assumption (a loaded core of a slow machine took 28).
        cores: beside each GPU.
        read_bytes, write_bytes: of an image and its embedding.
        link_gbit: of the GPU's share of the network.
    """

    name: str
    images_per_s: float
    decode_ms: float
    cores: int
    read_bytes: int
    write_bytes: int
    link_gbit: float
    origin: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


ENCODINGS = (
    Encoding("nano", 342.4, 12.0, 16, 300_000, 1_048_576, 10.0, H100),
    Encoding("vit_b", 243.4, 12.0, 16, 300_000, 4_194_304, 10.0, H100),
    Encoding("vit_h", 57.5, 12.0, 16, 300_000, 4_194_304, 10.0, H100),
)


@dataclass(frozen=True, slots=True)
class Store:
    """An object store, as one job sees it.

    Attributes:
        reads: requests a second.
        gbit: a second, there and back.
    """

    name: str
    reads: float
    gbit: float
    origin: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


# docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html: 5,500 reads a second of a partitioned
# prefix, and no bound on their number.
STORES = (
    Store("one prefix, 100 Gbit/s", 5500.0, 100.0, "S3's documentation; the bandwidth is an assumption"),
    Store("16 prefixes, 800 Gbit/s", 16 * 5500.0, 800.0, "S3's documentation; the bandwidth is an assumption"),
)
