"""What the processes of one server are called among Ray's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livesam.export.opening import Opening

APPLICATION, SESSIONS, ENCODERS = "livesam", "Sessions", "Encoders"
BATCH = 8  # images that one run of an encoder takes on a GPU
BATCH_WAIT_S = 0.002  # an image waits so long for others; encoding one takes 20 ms on two cores
REGISTRY = "registry"  # in the output folder


@dataclass(frozen=True, slots=True)
class Scale:
    """How many processes do what.

    Attributes:
        address: of a Ray cluster that runs; ``local`` begins one on this machine.
        encoders: replicas that encode images.
        ingresses: replicas that hold sessions and their decoders, all of them on the machine of the output folder.
        learners: actors that learn; a domain always has the same one.
        registry: where published decoders lie; None for the output folder.
    """

    address: str = "local"
    encoders: int = 1
    ingresses: int = 1
    learners: int = 1
    registry: str | None = None

    def __post_init__(self) -> None:
        if min(self.encoders, self.ingresses, self.learners) < 1:
            raise ValueError(f"encoders, ingresses and learners must be at least 1 each, got {self}")


def batch_of(opening: Opening) -> int:
    """How many images one run of an encoder takes.

    One on a CPU: eight at once take nano 106 ms an image on two cores, and 66 one after the other.
    """
    return BATCH if opening.choice("encoder").device.startswith("cuda") else 1
