"""What may be trained on, and what carries it."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from livesam.adapter.training.pack import main as pack
from livesam.adapter.training.sources import MOST_IDS, TRAINING_SETS, Source, few_ids, read_pack, read_sets, write_pack

DATA = Path(os.environ.get("LIVESAM_DATA", Path(__file__).parents[3].parent / "shared" / "data"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """All training sets with one flat picture each, and two sets that must stay unread."""
    for number, name in enumerate((*TRAINING_SETS, "src_coco128", "nov_wbc")):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "masks").mkdir()
        value = 200 + number if name in TRAINING_SETS else 10
        cv2.imwrite(str(tmp_path / name / "images" / "a.png"), np.full((16, 20, 3), value, np.uint8))
        mask = np.zeros((16, 20), np.uint8)
        mask[4:12, 4:12] = 7
        cv2.imwrite(str(tmp_path / name / "masks" / "a.png"), mask)
    return tmp_path


def test_only_permissive_sets_are_read(data: Path) -> None:
    read = read_sets(data)
    assert [s.set_name for s in read] == list(TRAINING_SETS)
    assert all(s.image.min() >= 200 for s in read)
    assert all(set(np.unique(s.ids)) == {0, 1} for s in read)


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="src_ccp"):
        read_sets(tmp_path)


def test_packs_hold_every_image_once_within_their_limit(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "packs"
    pack(["--data", str(data), "--out", str(out), "--limit-mib", "0.004"])
    packs = sorted(out.iterdir())
    assert len(packs) > 1
    assert all(p.stat().st_size < 0.004 * 2**20 + 2048 for p in packs)
    assert sorted(s.set_name for p in packs for s in read_pack(p)) == sorted(TRAINING_SETS)


def test_a_pack_keeps_ids_exactly_and_images_nearly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
    ids = rng.integers(0, 5, (48, 64)).astype(np.uint8)
    assert write_pack(tmp_path / "a.zip", [Source(image, ids, "src_cats")], 95) == 1
    (read,) = read_pack(tmp_path / "a.zip")
    assert read.set_name == "src_cats"
    assert np.array_equal(few_ids(ids), few_ids(read.ids))
    assert np.abs(read.image.astype(int) - image).mean() < 4


def test_a_file_that_is_no_pack_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"no pack.*training\.pack"):
        read_pack(tmp_path / "a.zip")


def test_of_many_ids_the_largest_keep_one() -> None:
    ids = np.repeat(np.arange(400, dtype=np.uint16)[None], 3, 0)
    ids[0] = 399
    few = few_ids(ids)
    assert few.dtype == np.uint8
    assert len(np.unique(few)) == MOST_IDS + 1
    assert few[1, 399] == 1  # the largest
    assert few[1, 0] == 0


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set LIVESAM_DATA")
def test_the_list_of_sets_is_the_train_table() -> None:
    table = (DATA / "README.md").read_text().split("## Train")[1].split("## Validation")[0]
    assert set(TRAINING_SETS) == {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| src")}
