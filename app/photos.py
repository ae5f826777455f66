"""The demo's photos (``engine/files/sample_photos.py``) and what a user would click in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from livesam.engine.files.sample_photos import sample_photo
from livesam.engine.values.prompt import Box, Click


@dataclass(frozen=True)
class ScriptedObject:
    """One object and the clicks in the order in which they are made; with a box, the box comes first."""

    name: str
    clicks: tuple[Click, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class Photo:
    """A photo by its function in ``skimage.data``."""

    name: str
    function: str
    objects: tuple[ScriptedObject, ...]

    def load(self) -> npt.NDArray[np.uint8]:
        """RGB, uint8 ``(H, W, 3)``.

        Raises:
            LivesamError: scikit-image is not installed.
        """
        return sample_photo(self.function)


def _clicks(*points: tuple[int, int] | tuple[int, int, bool]) -> tuple[Click, ...]:
    return tuple(Click(point[0], point[1], point[2] if len(point) == 3 else True) for point in points)


PHOTOS: tuple[Photo, ...] = (
    Photo(
        "astronaut",
        "astronaut",
        (
            ScriptedObject("astronaut", _clicks((150, 260), (215, 115), (340, 460))),
            ScriptedObject("shuttle", _clicks((428, 160), (398, 70))),
        ),
    ),
    Photo("cat", "chelsea", (ScriptedObject("cat", _clicks((210, 60), (60, 210), (250, 250), (400, 40, False))),)),
    Photo(
        "coffee",
        "coffee",
        (
            ScriptedObject("saucer", _clicks((390, 330), (110, 210))),
            ScriptedObject("cup", _clicks((200, 120), (320, 40), (285, 150))),
            ScriptedObject(
                "spoon",
                _clicks(
                    (370, 280),
                ),
            ),
        ),
    ),
    Photo("rocket", "rocket", (ScriptedObject("rocket", _clicks((322, 200), (322, 340))),)),
    Photo(
        "motorcycle",
        "stereo_motorcycle",
        (ScriptedObject("motorcycle", _clicks((390, 230), (210, 330), (600, 380)), Box(95, 110, 690, 455)),),
    ),
    Photo(
        "coins",
        "coins",
        tuple(
            ScriptedObject(f"coin {i + 1}", _clicks(point))
            for i, point in enumerate(
                ((44, 54), (155, 50), (335, 45), (46, 124), (270, 120), (212, 193), (348, 186), (46, 260), (172, 262))
            )
        ),
    ),
)
