"""Objects of a set: which, in which order, with which pixels."""

import cv2
import numpy as np
import pytest
from livesam.benchmarks.quality.datasets import MaskRule, objects
from livesam.engine.values.errors import ImageError


def write_set(root, name, masks):
    """A set with one mask a stem; images are noise."""
    folder = root / name
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for i, (stem, ids) in enumerate(masks.items()):
        noise = np.random.default_rng(i).integers(0, 255, (*ids.shape, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{stem}.png"), noise)
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), ids)
    return folder


def mask_with(hw, *rectangles, dtype=np.uint8):
    ids = np.zeros(hw, dtype)
    for value, y0, y1, x0, x1 in rectangles:
        ids[y0:y1, x0:x1] = value
    return ids


def names(references):
    return [r.name for r in references]


def test_small_objects_are_left_out_by_area(tmp_path):
    ids = mask_with((20, 50), (3, 0, 1, 0, 5), (4, 5, 6, 0, 4), (9, 10, 20, 0, 50))  # 5, 4 and 500 of 1000 pixels
    folder = write_set(tmp_path, "a", {"one": ids})
    assert sorted(names(objects(folder))) == ["one#3", "one#9"]
    assert sorted(names(objects(folder, min_area=0))) == ["one#3", "one#4", "one#9"]
    assert {r.name: r.area for r in objects(folder)} == {"one#3": 0.005, "one#9": 0.5}


def test_loaded_object_has_its_pixels_and_an_rgb_image(tmp_path):
    ids = mask_with((8, 10), (300, 2, 5, 3, 7), (7, 5, 8, 0, 10), dtype=np.uint16)
    folder = write_set(tmp_path, "a", {"one": ids})
    by_name = {r.name: r.load() for r in objects(folder)}
    np.testing.assert_array_equal(by_name["one#300"].truth, ids == 300)
    assert by_name["one#300"].ignore is None
    bgr = cv2.imread(str(folder / "images" / "one.png"))
    np.testing.assert_array_equal(by_name["one#300"].image, bgr[..., ::-1])


def test_white_blood_cells_are_two_nested_objects(tmp_path):
    ids = mask_with((20, 20), (1, 2, 18, 2, 18), (2, 6, 12, 6, 12))
    folder = write_set(tmp_path, "nov_wbc", {"x": ids, "no_nucleus": mask_with((20, 20), (1, 0, 9, 0, 9))})
    loaded = {r.name: r.load().truth for r in objects(folder)}
    assert sorted(loaded) == ["no_nucleus#cell", "x#cell", "x#nucleus"]
    np.testing.assert_array_equal(loaded["x#cell"], ids > 0)
    np.testing.assert_array_equal(loaded["x#nucleus"], ids == 2)
    assert sorted(names(objects(folder, only="cell"))) == ["no_nucleus#cell", "x#cell"]
    with pytest.raises(ValueError, match="has no class 'nut': its classes are cell, nucleus"):
        objects(folder, only="nut")


def test_void_border_of_voc_is_ignored_and_no_object(tmp_path):
    ids = mask_with((20, 20), (255, 2, 18, 2, 18), (1, 4, 16, 4, 16))
    folder = write_set(tmp_path, "src_voc07", {"x": ids, "plain": mask_with((20, 20), (1, 0, 9, 0, 9))})
    loaded = {r.name: r.load() for r in objects(folder)}
    assert sorted(loaded) == ["plain#1", "x#1"]
    np.testing.assert_array_equal(loaded["x#1"].ignore, ids == 255)
    assert loaded["plain#1"].ignore is None
    other = write_set(tmp_path, "other", {"x": ids})
    assert sorted(names(objects(other))) == ["x#1", "x#255"]
    assert names(objects(other, rule=MaskRule(ignore=255))) == ["x#1"]


def test_order_depends_on_the_seed_alone_and_a_limit_is_a_prefix(tmp_path):
    ids = mask_with((10, 40), *((i + 1, 0, 10, 4 * i, 4 * i + 4) for i in range(10)))
    folder = write_set(tmp_path, "a", {"p": ids, "q": ids})
    everything = names(objects(folder, seed=1))
    assert len(everything) == 20
    assert everything == names(objects(folder, seed=1))
    assert names(objects(folder, seed=1, limit=7)) == everything[:7]
    assert everything != names(objects(folder, seed=2))
    assert sorted(everything) == sorted(names(objects(folder, seed=2)))
    assert everything != sorted(everything)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a data set"):
        objects(tmp_path)
    folder = write_set(tmp_path, "a", {"one": mask_with((4, 4), (1, 0, 4, 0, 4))})
    with pytest.raises(ValueError, match="limit"):
        objects(folder, limit=0)
    (folder / "masks" / "one.png").unlink()
    with pytest.raises(ValueError, match="lacks 1 masks"):
        objects(folder)
    cv2.imwrite(str(folder / "masks" / "one.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ImageError, match="one channel"):
        objects(folder)


def test_a_mask_of_another_size_is_refused(tmp_path):
    folder = write_set(tmp_path, "a", {"one": mask_with((4, 4), (1, 0, 4, 0, 4))})
    reference = objects(folder)[0]
    cv2.imwrite(str(folder / "images" / "one.png"), np.zeros((5, 4, 3), np.uint8))
    with pytest.raises(ImageError, match="height, width"):
        reference.load()
