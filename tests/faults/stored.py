"""Objects that a test has accepted, and what has to be left of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from livesam.app.server.store import Store

HW = (60, 80)


def mask_of(number: int) -> np.ndarray:
    """The mask that object ``number`` has to have."""
    mask = np.zeros(HW, np.bool_)
    mask[5:50, 5:70] = np.random.default_rng(number).random((45, 65)) < 0.5
    return mask


def accept(store: Store, number: int, image: str = "0" * 20) -> int:
    """Accept object ``number``, as a seat does; its number in the store."""
    found = {"image": image, "domain": "d", "label": f"label {number % 3}", "iou": 0.9, "version": 1, "clicks": 2}
    log = {"image_hash": "h", "hw": list(HW), "steps": [{"clicks": [[1.5, 2.0, True]] * (number % 40)}]}
    return store.accept({**found, "source": "click"}, mask_of(number), log).id


def objects_of(store: Store) -> dict[int, Any]:
    """All objects by number, as they are told."""
    return {one.id: one for row in store.images() for one in store.objects(row["id"])}
