from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from livesam.app.sheet import tile
from livesam.engine.files.picture import write_picture
from livesam.engine.values.prompt import Box, Click
from livesam.engine.view.overlay import Layer, draw
from PIL import Image


def test_tint_inside_dim_outside_untouched_input() -> None:
    image = np.full((100, 200, 3), 200, np.uint8)
    mask = np.zeros((100, 200), bool)
    mask[20:80, 20:100] = True
    out = draw(image, [Layer(mask, colour=(0, 0, 255))], min_long_side=200)
    assert out.shape == image.shape
    inside, outside = out[50, 60].astype(int), out[50, 180].astype(int)
    assert inside[2] > inside[0]  # towards blue
    assert (outside < 200).all()
    assert len(set(outside)) == 1  # dimmed, not tinted
    assert (image == 200).all()


def test_small_images_are_enlarged_and_large_ones_kept() -> None:
    small, large = np.zeros((30, 60, 3), np.uint8), np.zeros((300, 1000, 3), np.uint8)
    assert draw(small, []).shape == (450, 900, 3)
    assert draw(large, []).shape == (300, 1000, 3)


def test_clicks_show_their_sign_where_they_were_made() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    layer = Layer(np.zeros((100, 100), bool), (Click(25, 50), Click(75, 50, False)), Box(5, 5, 95, 95))
    out = draw(image, [layer], min_long_side=800).astype(int)
    ring = 4  # beside the white sign in the marker's middle
    green, red = out[404 + ring, 204 + ring], out[404 + ring, 604 + ring]
    assert green[1] > green[0] + 50
    assert red[0] > red[1] + 50


def test_masks_of_every_shape_are_drawn() -> None:
    image = np.full((40, 40, 3), 90, np.uint8)
    full, empty = np.ones((40, 40), bool), np.zeros((40, 40), bool)
    assert not np.array_equal(draw(image, [Layer(full)]), draw(image, [Layer(empty)]))


def test_sheet() -> None:
    pictures = [np.full((10, 20, 3), i, np.uint8) for i in (1, 2, 3)]
    sheet = tile(pictures, columns=2, cell_hw=(20, 40), gap=4)
    assert sheet.shape == (2 * 24 + 4, 2 * 44 + 4, 3)
    assert sheet[14, 24].tolist() == [1, 1, 1]
    assert sheet[14, 68].tolist() == [2, 2, 2]
    assert sheet[38, 24].tolist() == [3, 3, 3]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_saved_pictures_open(tmp_path: Path, name: str) -> None:
    picture = np.zeros((8, 12, 3), np.uint8)
    write_picture(tmp_path / name, picture)
    with Image.open(tmp_path / name) as opened:
        assert opened.size == (12, 8)
    assert [path.name for path in tmp_path.iterdir()] == [name]
