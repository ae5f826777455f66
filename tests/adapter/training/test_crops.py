"""Crops on the device: what is shown is what is asked for, and padding is nothing."""

import cv2
import numpy as np
import pytest
import torch
from livesam.adapter.training.crops import PASTED_ID, Windows, draw_batch, jitter, paste, pick_objects, render
from livesam.adapter.training.image_store import ImageStore, object_table, set_shares
from livesam.adapter.training.procedural import procedural_sources
from livesam.adapter.training.sources import Source

CPU = torch.device("cpu")


def picture(height: int, width: int, name: str = "src_cats") -> Source:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None]
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    ids = np.zeros((height, width), np.uint8)
    ids[height // 4 : height // 2, width // 4 : width // 2] = 3
    return Source(image, ids, name)


def whole(store: ImageStore, number: int, size: int, flip: bool = False, angle: float = 0.0) -> Windows:
    h, w = store.hw[number]
    valid = np.array([[round(h * size / max(h, w)), round(w * size / max(h, w))]])
    return Windows(
        np.array([number]), np.array([3]), np.array([[0.0, 0, w, h]]), valid, np.array([flip]), np.array([angle])
    )


def test_objects_are_listed_with_area_and_box() -> None:
    ids = np.zeros((60, 60), np.uint8)
    ids[5:20, 7:30] = 3
    ids[40:42, 40:42] = 9  # too small
    assert object_table(ids).tolist() == [[3, 345, 7, 5, 30, 20]]


def test_sets_are_drawn_by_their_shares_and_never_without_an_object() -> None:
    empty = Source(np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30), np.uint8), "src_cats")
    sources = [picture(40, 60), empty, picture(40, 60, "src3_documents"), picture(40, 60, "procedural")]
    store = ImageStore(sources, CPU)
    assert sum(store.shares.values()) == pytest.approx(1)
    assert store.shares["procedural"] == pytest.approx(0.15)
    assert store.shares["src_cats"] > store.shares["src3_documents"]
    drawn = store.draw(np.random.default_rng(0), 2000)
    assert 1 not in drawn
    assert (drawn == 3).mean() == pytest.approx(0.15 / (1 - store.shares["src_cats"] / 2), abs=0.05)
    with pytest.raises(ValueError, match="none of the 1 images"):
        ImageStore([empty], CPU)


def test_only_procedural_images_are_all_of_the_draws() -> None:
    from collections import Counter

    assert set_shares(Counter({"procedural": 5}), 0.15) == {"procedural": 1.0}


def test_a_whole_image_is_its_resized_self() -> None:
    store = ImageStore([picture(40, 64), picture(64, 64)], CPU)
    pixels, ids, known = render(store, whole(store, 0, 128), 128)
    expected = cv2.resize(picture(40, 64).image, (128, 80), interpolation=cv2.INTER_LINEAR)
    assert np.abs(pixels[0, :, :80].permute(1, 2, 0).numpy() - expected).max() < 6
    assert known[0].sum() == 80 * 128
    assert pixels[0, :, 80:].abs().max() == 0
    assert (ids[0, 20:40, 32:64] == 3).all()
    assert (ids == 3).sum() == 20 * 32


def test_flips_and_turns_move_image_and_ids_alike() -> None:
    store = ImageStore([picture(64, 64)], CPU)
    plain, plain_ids, _ = render(store, whole(store, 0, 64), 64)
    flipped, flipped_ids, _ = render(store, whole(store, 0, 64, flip=True), 64)
    assert torch.allclose(flipped, plain.flip(3), atol=1e-3)
    assert torch.equal(flipped_ids, plain_ids.flip(2))
    turned, turned_ids, _ = render(store, whole(store, 0, 64, angle=np.pi), 64)
    assert torch.allclose(turned, plain.flip(2, 3), atol=1e-2)
    assert torch.equal(turned_ids, plain_ids.flip(1, 2))


def test_objects_are_the_anchor_first_and_all_different_where_there_are_enough() -> None:
    ids = torch.zeros(2, 64, 64, dtype=torch.long)
    for value in range(1, 5):
        ids[0, 16 * (value - 1) : 16 * value] = value
    known = torch.ones(2, 64, 64, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    none = torch.zeros(2, dtype=torch.bool)
    target, exists = pick_objects(ids, known, torch.tensor([3, 1]), none, 4, generator)
    assert target.shape == (8, 16, 16)
    assert exists.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert target[0, 8:12].min() == 1
    assert target[0].sum() == 64
    assert target[:4].sum(0).eq(1).all()  # four different objects cover the image
    ids[0, :16] = 2  # three left: one comes twice
    target, _ = pick_objects(ids, known, torch.tensor([3, 1]), none, 4, generator)
    assert torch.equal(target[0], target[3])


def test_a_pasted_object_brings_its_pixels_and_an_id_of_its_own() -> None:
    pixels = torch.stack([torch.zeros(3, 32, 32), torch.full((3, 32, 32), 200.0)])
    ids = torch.zeros(2, 32, 32, dtype=torch.long)
    ids[:, 8:16, 8:16] = 4
    known = torch.ones(2, 32, 32, dtype=torch.bool)
    for seed in range(30):
        out, new = paste(pixels, ids, known, torch.tensor([4, 4]), torch.Generator().manual_seed(seed))
        if (new[0] == PASTED_ID).any():
            assert out[0, :, 10:14, 10:14].min() == 200
            assert out[0, :, 20:].max() == 0
            return
    pytest.fail("none of 30 seeds pasted anything")


def test_colours_vary_and_padding_stays_zero() -> None:
    known = torch.ones(4, 32, 32, dtype=torch.bool)
    known[:, 24:] = False
    out = jitter(torch.full((4, 3, 32, 32), 128.0), known, torch.Generator().manual_seed(0))
    assert out[:, :, 24:].abs().max() == 0
    assert out[:, :, :24].std() > 0
    assert out.abs().max() < 4


def test_a_batch_is_a_function_of_the_generators() -> None:
    store = ImageStore(list(procedural_sources(6, 0, 1, side=96)), CPU)

    def batch(seed: int) -> torch.Tensor:
        made = draw_batch(store, np.random.default_rng(seed), torch.Generator().manual_seed(seed), 64, 4, 3)
        assert made.pixels.shape == (4, 3, 64, 64)
        assert made.target.shape == made.valid.shape == (12, 16, 16)
        assert (made.target * ~made.valid).sum() < 0.2 * made.target.sum()
        return made.pixels

    assert torch.equal(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))
