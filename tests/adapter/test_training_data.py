"""The training stream: exact masks, nothing forbidden in it, and the same samples whatever happens."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from livesam.adapter.synthetic import paste, procedural, shape, texture
from livesam.adapter.training_data import PERMISSIVE_SETS, Source, TrainingSamples, load_sources

DATA = Path(os.environ.get("LIVESAM_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def sources() -> list[Source]:
    rng = np.random.default_rng(0)
    image, ids = procedural(rng, 96, 128)
    return [Source(image, ids, True), Source(texture(rng, 64, 64), np.ones((64, 64), np.int32), False)]


def test_shapes_are_neither_empty_nor_outside_and_textures_fill_the_image() -> None:
    masks = [shape(np.random.default_rng(i), 80, 120) for i in range(60)]
    assert all(m.shape == (80, 120) and m.dtype == bool for m in masks)
    assert sum(m.any() for m in masks) >= 57  # a stroke may wander out of the picture
    assert texture(np.random.default_rng(1), 80, 120).shape == (80, 120, 3)


def test_a_pasted_object_covers_what_was_there() -> None:
    image, ids = np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.int32)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    paste(np.random.default_rng(0), image, ids, mask, np.full((40, 40, 3), 200, np.uint8))
    assert (ids[mask] == 2).all()
    assert (ids[~mask] == 1).all()
    assert image[20, 20, 0] > 190
    assert image[2, 2, 0] == 0


def test_a_sample_is_a_function_of_seed_and_index() -> None:
    first, again = (TrainingSamples(sources(), 64, 3, seed=5)[7] for _ in range(2))
    other = TrainingSamples(sources(), 64, 3, seed=6)[7]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.targets, again.targets)
    assert not np.array_equal(first.image, other.image)


def test_targets_lie_in_the_valid_part_and_padding_is_black() -> None:
    samples = TrainingSamples(sources(), 64, 3, seed=1)
    for index in range(30):
        sample = samples[index]
        height, width = sample.valid_hw
        assert sample.image.shape == (3, 64, 64)
        assert sample.targets.shape == (3, 16, 16)
        assert 0 <= sample.targets.min() <= sample.targets.max() <= 1
        assert sample.targets[:, height:].max(initial=0) == 0
        assert sample.targets[:, :, width:].max(initial=0) == 0
        assert sample.image[:, height * 4 + 2 :].max(initial=0) == 0
        assert (sample.targets.sum((1, 2)) > 0).all()


def test_only_permissive_sets_are_read(tmp_path: Path) -> None:
    for name in (*PERMISSIVE_SETS, "src_coco128", "nov_wbc"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "masks").mkdir()
        value = 250 if name in PERMISSIVE_SETS else 10
        cv2.imwrite(str(tmp_path / name / "images" / "a.png"), np.full((16, 16, 3), value, np.uint8))
        cv2.imwrite(str(tmp_path / name / "masks" / "a.png"), np.ones((16, 16), np.uint8))
    read = load_sources(tmp_path)
    assert len(read) == len(PERMISSIVE_SETS)
    assert all(s.image.min() == 250 for s in read)


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="src_ccp"):
        load_sources(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set LIVESAM_DATA")
def test_the_documented_list_of_permissive_sets_is_the_train_table() -> None:
    page = (DATA / "README.md").read_text()
    table = page.split("## Train")[1].split("## Validation")[0]
    listed = {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| src")}
    assert set(PERMISSIVE_SETS) == listed
