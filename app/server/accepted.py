"""An object that was accepted, as it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

COLUMNS = "id, image, domain, label, x0, y0, x1, y1, area, iou, version, clicks, source, created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An object as it is kept, without its mask.

    Attributes:
        box: x0, y0, x1, y1 in whole pixels; x1 and y1 are the first beside it.
        version: the decoder's that gave the mask.
        clicks: clicks and boxes that it took.
        source: ``click``, ``paint``, ``proposal`` or ``import``.
        created: UTC, ISO 8601.
    """

    id: int
    image: str
    domain: str
    label: str
    box: tuple[int, int, int, int]
    area: int
    iou: float
    version: int
    clicks: int
    source: str
    created: str

    def public(self) -> dict[str, Any]:
        """As clients get it."""
        return {key: value for key, value in asdict(self).items() if key not in ("image", "domain")}

    @classmethod
    def of(cls, row: Iterable[Any]) -> Accepted:
        """From a row that begins with ``COLUMNS``."""
        number, image, domain, label, x0, y0, x1, y1, area, iou, version, clicks, source, created = tuple(row)[:14]
        return cls(
            id=number, image=image, domain=domain, label=label, box=(x0, y0, x1, y1), area=area, iou=iou,
            version=version, clicks=clicks, source=source, created=created,
        )  # fmt: skip
