"""Procedural images: exact masks, every kind of thing, the same from any number of processes."""

import numpy as np
from livesam.adapter.training.procedural import (
    SHAPES,
    paste,
    procedural,
    procedural_sources,
    shade,
    shape,
    texture,
)


def test_every_kind_of_shape_draws_something_inside() -> None:
    for draw, _ in SHAPES:
        masks = []
        for seed in range(8):
            mask = np.zeros((90, 120), np.uint8)
            draw(np.random.default_rng(seed), mask, np.array([60.0, 45.0]), 25.0)
            masks.append(mask)
        assert sum(m.any() for m in masks) == 8, draw.__name__
        assert all(m.max() <= 1 for m in masks)
        assert not all(np.array_equal(masks[0], m) for m in masks[1:])


def test_shapes_and_textures_fill_the_size_asked_for() -> None:
    masks = [shape(np.random.default_rng(i), 80, 120) for i in range(40)]
    assert all(m.shape == (80, 120) and m.dtype == bool for m in masks)
    assert sum(m.any() for m in masks) >= 38  # a stroke may wander out of the picture
    assert texture(np.random.default_rng(1), 80, 120).shape == (80, 120, 3)


def test_a_shade_stays_close_to_its_ground() -> None:
    ground = texture(np.random.default_rng(0), 64, 64)
    for seed in range(10):
        off = np.abs(shade(np.random.default_rng(seed), ground).astype(int) - ground)
        assert 0 < off.mean() < 110


def test_a_pasted_object_covers_what_was_there() -> None:
    image, ids = np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.int32)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    paste(np.random.default_rng(0), image, ids, mask, np.full((40, 40, 3), 200, np.uint8))
    assert (ids[mask] == 2).all()
    assert (ids[~mask] == 1).all()
    assert image[20, 20, 0] > 190
    assert image[2, 2, 0] == 0


def test_images_are_a_function_of_the_seed_whoever_makes_them() -> None:
    alone = list(procedural_sources(21, 3, 1, side=48))
    spawned = list(procedural_sources(21, 3, 2, side=48))  # two processes, 20 and 1
    assert len(alone) == 21
    assert all(
        np.array_equal(a.image, b.image) and np.array_equal(a.ids, b.ids) for a, b in zip(alone, spawned, strict=True)
    )
    assert not np.array_equal(alone[0].image, next(procedural_sources(1, 4, 1, side=48)).image)


def test_ids_count_the_things_of_an_image() -> None:
    image, ids = procedural(np.random.default_rng(2), 96, 96)
    assert image.shape == (96, 96, 3)
    assert 1 <= ids.max() <= 9
