from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from livesam.app.annotations.formats import EXPORTS, IMPORTS
from livesam.app.annotations.outline import joined, rings
from livesam.app.annotations.values import Annotated, AnnotatedImage, Dataset
from PIL import Image

HW = (60, 90)


def shapes(rng: np.random.Generator) -> list[np.ndarray]:
    """A disc, a ring with a hole, two parts, diagonal neighbours, noise, one pixel, everything."""
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    far = np.hypot(rows - 30, columns - 40)
    diagonal = np.zeros(HW, bool)
    diagonal[10:20, 10:20] = diagonal[20:30, 20:30] = True
    pixel = np.zeros(HW, bool)
    pixel[59, 89] = True
    return [
        far < 14, (far < 20) & (far > 9), (far < 8) | (columns > 80), diagonal, rng.random(HW) < 0.4, pixel,
        np.ones(HW, bool),
    ]  # fmt: skip


@pytest.fixture
def dataset(rng: np.random.Generator) -> Dataset:
    objects = tuple(Annotated.of(f"kind {i % 2}", mask) for i, mask in enumerate(shapes(rng)) if mask.any())
    images = (AnnotatedImage("a/one.png", HW, objects[:4]), AnnotatedImage("zwei ä.jpg", HW, objects[4:]))
    return Dataset(("kind 0", "unused"), images)


def written(format: str, dataset: Dataset) -> bytes:
    out = io.BytesIO()
    EXPORTS[format].write(dataset, out)
    return out.getvalue()


def masks(dataset: Dataset) -> dict[str, list[tuple[str, np.ndarray]]]:
    return {one.name: [(o.label, o.mask(one.hw)) for o in one.objects] for one in dataset.images}


def same(one: Dataset, other: Dataset) -> None:
    left, right = masks(one), masks(other)
    assert left.keys() == right.keys()
    for name in left:
        assert [label for label, _ in left[name]] == [label for label, _ in right[name]]
        for (_, a), (_, b) in zip(left[name], right[name], strict=True):
            assert np.array_equal(a, b)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize("format", ["coco", "coco-rle"])
def test_coco_is_read_back_bit_for_bit_by_pycocotools_and_by_us(format, dataset, tmp_path, capsys) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    path = tmp_path / "coco.json"
    path.write_bytes(written(format, dataset))
    found = coco.COCO(str(path))
    for image in found.loadImgs(found.getImgIds()):
        annotations = found.loadAnns(found.getAnnIds(image["id"]))
        wanted = masks(dataset)[image["file_name"]]
        assert [found.cats[one["category_id"]]["name"] for one in annotations] == [label for label, _ in wanted]
        for one, (_, mask) in zip(annotations, wanted, strict=True):
            assert np.array_equal(found.annToMask(one).astype(bool), mask)
            rows, columns = np.nonzero(mask)
            x, y, width, height = one["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
            assert one["area"] == mask.sum()
    polygons = [isinstance(one["segmentation"], list) for one in found.dataset["annotations"]]
    # The ring and the noise have holes, which polygons cannot say.
    assert polygons == ([True, False, True, True, False, True, True] if format == "coco" else [False] * 7)
    same(IMPORTS["coco"](path.read_bytes()), dataset)


def test_labelme_goes_round(dataset) -> None:
    data = written("labelme", dataset)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == ["a/one.json", "zwei ä.json"]
        content = json.loads(archive.read("a/one.json"))
    assert (content["imagePath"], content["imageHeight"], content["imageWidth"]) == ("one.png", 60, 90)
    for shape, (_, mask) in zip(content["shapes"], masks(dataset)["a/one.png"], strict=True):
        (x0, y0), (x1, y1) = shape["points"]  # as labelme puts it back: the last pixel belongs to it
        again = np.zeros(HW, bool)
        again[y0 : y1 + 1, x0 : x1 + 1] = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
        assert np.array_equal(again, mask)
    same(IMPORTS["labelme"](data), dataset)


def test_labelme_shapes_that_others_draw() -> None:
    shapes = [
        {"label": "p", "shape_type": "polygon", "points": [[10, 10], [30, 10], [30, 20], [10, 20]]},
        {"label": "r", "shape_type": "rectangle", "points": [[50, 40], [40, 30]]},
        {"label": "c", "shape_type": "circle", "points": [[60, 30], [65, 30]]},
        {"label": "l", "shape_type": "line", "points": [[1, 1], [2, 2]]},
        {"label": "bad", "shape_type": "polygon", "points": [[1, 1]]},
    ]
    content = {"imagePath": "x\\one.png", "imageHeight": 60, "imageWidth": 90, "shapes": shapes}
    (image,) = IMPORTS["labelme"](json.dumps(content).encode()).images
    assert image.name == "one.png"
    assert [(one.label, one.box) for one in image.objects] == [
        ("p", (10, 10, 31, 21)), ("r", (40, 30, 50, 40)), ("c", (55, 25, 66, 36)),
    ]  # fmt: skip
    assert len(image.problems) == 1
    assert "three points" in image.problems[0]


def test_png_label_maps(dataset) -> None:
    with zipfile.ZipFile(io.BytesIO(written("png", dataset))) as archive:
        told = json.loads(archive.read("labels.json"))
        labels = np.array(Image.open(archive.open("labels/a/one.png.png")))
        objects = np.array(Image.open(archive.open("objects/a/one.png.png")))
    assert told["labels"] == {"1": "kind 0", "2": "unused", "3": "kind 1"}
    wanted = np.zeros(HW, int)
    for i, (label, mask) in enumerate(masks(dataset)["a/one.png"]):
        wanted[mask] = i + 1
        assert (labels[mask & (objects == i + 1)] == {"kind 0": 1, "kind 1": 3}[label]).all()
    assert np.array_equal(objects, wanted)


def test_yolo_has_a_line_an_object_that_draws_its_mask(dataset) -> None:
    cv2 = pytest.importorskip("cv2")
    with zipfile.ZipFile(io.BytesIO(written("yolo", dataset))) as archive:
        lines = archive.read("labels/a/one.txt").decode().splitlines()
        names = archive.read("data.yaml").decode()
    assert '  0: "kind 0"\n  1: "unused"\n  2: "kind 1"\n' in names
    wanted = masks(dataset)["a/one.png"]
    assert len(lines) == len(wanted)
    for line, (label, mask) in zip(lines, wanted, strict=True):
        number, *values = line.split()
        assert number == {"kind 0": "0", "kind 1": "2"}[label]
        corners = np.array(values, float).reshape(-1, 2) * (HW[1], HW[0]) * 8
        big = np.zeros((HW[0] * 8, HW[1] * 8), np.uint8)
        cv2.fillPoly(big, [np.rint(corners).astype(np.int32)], 1)
        drawn = big[4::8, 4::8].astype(bool)
        assert (drawn & mask).sum() == mask.sum()  # a hole is filled, nothing is lost


def test_images_that_differ_in_the_suffix_alone_are_both_kept_or_refused(dataset) -> None:
    (image, *_) = dataset.images
    twins = Dataset(dataset.labels, [replace(image, name=f"x/a.{suffix}") for suffix in ("jpg", "png")])
    data = written("labelme", twins)
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["x/a.json", "x/a.png.json"]
    assert [one.name for one in IMPORTS["labelme"](data).images] == ["x/a.jpg", "x/a.png"]
    with pytest.raises(ValueError, match=r"x/a\.jpg and x/a\.png"):
        written("yolo", twins)


def test_cvat_masks_are_runs_of_their_box(dataset) -> None:
    root = ElementTree.fromstring(written("cvat", dataset))
    assert root.findtext("version") == "1.1"
    assert [one.text for one in root.iter("name")] == ["kind 0", "unused", "kind 1"]
    for image in root.iter("image"):
        for node, (label, mask) in zip(image.iter("mask"), masks(dataset)[image.get("name")], strict=True):
            left, top, width, height = (int(node.get(key)) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in node.get("rle").split(",")]
            crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
            again = np.zeros(HW, bool)
            again[top : top + height, left : left + width] = crop
            assert node.get("label") == label
            assert np.array_equal(again, mask)


def test_cvat_leaves_out_what_xml_cannot_say() -> None:
    one = Annotated("a\x00b", (0, 0, 1, 1), np.ones((1, 1), bool))
    root = ElementTree.fromstring(written("cvat", Dataset(("a\x00b",), [AnnotatedImage("c\x01d.png", (4, 4), (one,))])))
    names = [root.find("image").get("name"), root.find("image/mask").get("label"), root.find(".//label/name").text]
    assert names == ["cd.png", "ab", "ab"]


@pytest.mark.parametrize("seed", range(6))
def test_outlines_say_the_same_as_the_mask(seed) -> None:
    """Inside by the rule of even and odd crossings, of every pixel's centre."""
    rng = np.random.default_rng(seed)
    mask = rng.random((14, 17)) < rng.uniform(0.2, 0.8)
    outer, holes = rings(mask)
    inside = np.zeros(mask.shape, bool)
    for ring in (*outer, *holes):
        following = np.roll(ring, -1, axis=0)
        assert ((ring == following).sum(axis=1) == 1).all()  # along rows and columns only
        for (x, y0), (x1, y1) in zip(ring.tolist(), following.tolist(), strict=True):
            if x == x1:
                inside[min(y0, y1) : max(y0, y1), x:] ^= True
    assert np.array_equal(inside, mask)
    assert len(joined(outer)) >= sum(len(one) for one in outer)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"images": 3}', b"\xff\xfe", b"[" * 100_000, b"PK\x03\x04 broken",
        json.dumps({"images": [{"id": 1, "file_name": "a", "width": 10**9, "height": 10**9}], "annotations": [],
                    "categories": []}).encode(),
    ],
)  # fmt: skip
@pytest.mark.parametrize("format", ["coco", "labelme"])
def test_what_is_no_such_file_is_refused(format, data) -> None:
    with pytest.raises(ValueError, match=r"this|1 to"):
        list(IMPORTS[format](data).images)


@pytest.mark.parametrize(
    "segmentation",
    [
        None, 3, {"size": [60, 90], "counts": "zzzz" * 40}, {"size": [6000, 9000], "counts": [1]},
        {"size": [60, 90], "counts": [10**12]}, {"size": [60, 90], "counts": [-5, 5405]}, [[1, 2]],
        [[float("inf")] * 6], {"size": [60, 90], "counts": "\x00"},
    ],
)  # fmt: skip
def test_damaged_objects_are_left_out_and_named(segmentation) -> None:
    image = {"id": 1, "file_name": "a.png", "width": 90, "height": 60}
    good = {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
    bad = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    content = {"images": [image], "annotations": [bad, good], "categories": [{"id": 1, "name": "x"}]}
    (found,) = IMPORTS["coco"](json.dumps(content).encode()).images
    assert [one.box for one in found.objects] == [(1, 1, 9, 9)]
    assert len(found.problems) == 1
