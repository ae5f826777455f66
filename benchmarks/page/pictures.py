"""The documents' pictures of the page: ten coins one after the other, and the rest of them proposed."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from livesam.adapter.oracle import next_click
from livesam.benchmarks.page.browser import Visitor, Window, browser
from livesam.benchmarks.page.person import iou
from livesam.benchmarks.serving.served import Served
from livesam.engine.values.prompt import Click
from PIL import Image

Mask = npt.NDArray[np.bool_]

PHOTOS = ("coins", "chelsea", "coffee", "astronaut", "rocket")
COINS, GOOD_ENOUGH, MOST_CLICKS = 10, 0.96, 9
FRAME_WIDTH = 760  # pixels
FRAME_MS, ACCEPTED_MS, LAST_MS = 450, 800, 4000
LEARN_S = 30.0  # at most so long is waited for what a coin has to teach
LARGEST_BYTES = 1_500_000


def take(into: Path, work: Path) -> list[Path]:
    """Write ``page.jpg`` and ``learning.webp``.

    Args:
        into: the folder.
        work: an empty one.

    Raises:
        ValueError: the animation came out larger than 1.5 MB.
    """
    folder = work / "photos"
    folder.mkdir()
    for at, name in enumerate(PHOTOS):
        Image.fromarray(photo(name)).save(folder / f"{at + 1} {name}.png")
    into.mkdir(parents=True, exist_ok=True)
    still, moving = into / "page.jpg", into / "learning.webp"
    with (
        Served(folder, work / "out") as served,
        browser() as chrome,
        chrome.visit(served.url, Window(1180, 740)) as visitor,
    ):
        visitor.settled()
        write_animation(moving, *coin_after_coin(served, visitor))
        in_progress(visitor)
        visitor.picture(still, quality=85)
    return [still, moving]


def photo(name: str) -> npt.NDArray[np.uint8]:
    """One of scikit-image's."""
    from skimage import data

    return np.asarray(getattr(data, name)())


def coins() -> list[Mask]:
    """The truth about the coins, by scikit-image's own recipe: a watershed between sure coin and sure ground."""
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    grey = photo("coins")
    sure = np.zeros(grey.shape, np.int32)
    sure[grey < 30], sure[grey > 150] = 1, 2
    found, count = ndimage.label(ndimage.binary_fill_holes(watershed(sobel(grey), sure) == 2))
    masks = [found == number for number in range(1, count + 1)]
    return [mask for mask in masks if mask.sum() > 500]


def coin_after_coin(served: Served, visitor: Visitor) -> tuple[list[Image.Image], list[int]]:
    """Ten coins as a person would do them; a frame a click, and how long each is shown."""
    frames: list[Image.Image] = []
    lengths: list[int] = []

    def keep(milliseconds: int) -> None:
        shot = Image.open(io.BytesIO(visitor.page.screenshot())).convert("RGB")
        height = round(shot.height * FRAME_WIDTH / shot.width)
        frames.append(shot.resize((FRAME_WIDTH, height), Image.Resampling.LANCZOS))
        lengths.append(milliseconds)

    chosen = coins()
    for at in np.random.default_rng(7).permutation(len(chosen))[:COINS]:
        truth, said = chosen[at], list[Click]()
        shown: Mask = np.zeros_like(truth)
        while len(said) < MOST_CLICKS and iou(shown, truth) < GOOD_ENOUGH:
            click = next_click(truth, shown, visited=said)
            if click is None:
                break
            visitor.click(click.x, click.y, click.positive)
            keep(FRAME_MS)
            said.append(click)
            painted = visitor.painted()
            shown = painted if painted is not None else np.zeros_like(truth)
        visitor.key("Enter")
        deadline = time.monotonic() + LEARN_S
        while served.json("/api/learning")["waiting"] and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1.5)  # the panel hears of it once a second
        keep(ACCEPTED_MS)
    lengths[-1] = LAST_MS
    return frames, lengths


def in_progress(visitor: Visitor) -> None:
    """The other coins are proposed, and wait to be decided."""
    visitor.key("g")
    visitor.page.get_by_role("group", name="Proposals").wait_for()
    for _ in range(2):
        visitor.key("y")
    visitor.page.mouse.move(5, 400)
    time.sleep(4.0)  # until the last notice is gone


def write_animation(path: Path, frames: list[Image.Image], lengths: list[int]) -> None:
    """As WebP.

    Raises:
        ValueError: it is larger than 1.5 MB.
    """
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=lengths, loop=0, quality=70, method=4)
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}: take fewer coins")
