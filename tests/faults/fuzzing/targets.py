"""Everything that reads foreign bytes: a reader, its documented errors, and small valid files to begin with."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from livesam.engine.values.errors import CheckpointError, ExportError, ImageError, LivesamError, SessionError


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        read: takes bytes; what it returns is of no interest.
        refusals: what it may raise.
        seeds: makes valid files, which it has to take.
    """

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@cache
def work() -> Path:
    """Where a file lies whose reader wants a path."""
    return Path(tempfile.mkdtemp(prefix="livesam-fuzzing-"))


def in_file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    def of_bytes(data: bytes) -> object:
        path = work() / name
        path.write_bytes(data)
        return read(path)

    return of_bytes


def written(write: Callable[[Path], object], name: str) -> bytes:
    path = work() / name
    write(path)
    return path.read_bytes()


# Images


def images() -> list[bytes]:
    from PIL import Image

    rng, found = np.random.default_rng(0), []
    rgb = Image.fromarray(rng.integers(0, 256, (12, 20, 3), np.uint8))
    grey = Image.fromarray(rng.integers(0, 65536, (12, 20), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    for picture, kind, options in (
        (rgb, "JPEG", {"exif": exif}), (rgb, "PNG", {}), (rgb, "WEBP", {"lossless": True}), (rgb, "BMP", {}),
        (rgb, "GIF", {}), (rgb, "PPM", {}), (rgb, "TIFF", {"compression": "tiff_lzw"}), (rgb, "TIFF", {}),
        (rgb.convert("RGBA"), "PNG", {}), (rgb.convert("P"), "PNG", {"transparency": 3}), (rgb, "JPEG2000", {}),
        (rgb.convert("CMYK"), "JPEG", {}), (grey, "PNG", {}), (grey, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (Image.fromarray(noise(12, 20)), "TIFF", {}), (rgb, "AVIF", {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        try:
            picture.save(buffer, kind, **options)
        except (OSError, KeyError):  # this Pillow has no such codec
            continue
        found.append(buffer.getvalue())
    return found


def image(data: bytes) -> object:
    from livesam.engine.files.image import decode_image

    return decode_image(data)


# Weights


def state() -> dict[str, Any]:
    import torch

    names = ("mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight", "image_encoder.pos_embed")
    return {name: torch.from_numpy(noise(2, 8)) for name in names}


def pth() -> list[bytes]:
    import torch

    return [written(lambda path: torch.save(state(), path), "seed.pth")]


def safetensors() -> list[bytes]:
    from safetensors.numpy import save

    plain = {name: value.numpy() for name, value in state().items()}
    return [save(plain), save(plain, {"format": "pt"})]


def contents(path: Path) -> object:
    from livesam.engine.models.checkpoints import check_file, read_contents

    check_file(path, "nano")
    return read_contents(path)


def loaded(path: Path) -> object:
    from livesam.engine.models.checkpoints import read_contents

    return read_contents(path)


def header(path: Path) -> object:
    from livesam.engine.models.checkpoints import read_contents, read_header

    return read_header(path), read_contents(path)


BASE = {name: np.ones((4, 8), np.float32) for name in ("a", "b")}


def adapted() -> list[bytes]:
    from livesam.engine.models.adapted import write_adapted
    from livesam.engine.values.adapted_info import AdaptedInfo

    weights = {name: value + noise(4, 8) for name, value in BASE.items()}
    info = AdaptedInfo(model="nano", method="live", domain="d", image_size=512, counts={"accepted": 3})
    return [written(lambda path: write_adapted(path, weights, BASE, info), "seed.livesam.safetensors")]


def read_adapted(path: Path) -> object:
    from livesam.engine.models.adapted import load_adapted

    return load_adapted(path, BASE)


@cache
def served_weights() -> tuple[Any, str, bytes]:
    """The files, and one decoder in them: its name and its bytes."""
    from livesam.app.server.weights import WeightFiles

    files = WeightFiles(work() / "served", BASE)
    digest = files.write({**BASE, "b": noise(4, 8)})
    return files, digest, files.path(digest).read_bytes()


def served() -> list[bytes]:
    return [served_weights()[2]]


def read_served(data: bytes) -> object:
    files, digest, _ = served_weights()
    files.path(digest).write_bytes(data)
    found = files.read(digest)
    assert np.array_equal(found["b"], noise(4, 8)), "another decoder was taken for this one"
    return found


def embedding() -> Any:
    from livesam.engine.values.embedding import ImageEmbedding

    return ImageEmbedding(noise(1, 256, 2, 2), (20, 30), (21, 32), "key")


def cached() -> list[bytes]:
    from livesam.engine.session.cache import EmbeddingCache

    EmbeddingCache(0, work() / "cached").put(embedding())
    return [path.read_bytes() for path in (work() / "cached").iterdir()]


def read_cached(data: bytes) -> object:
    from livesam.engine.session.cache import EmbeddingCache

    cache = EmbeddingCache(0, work() / "cached")
    path = cache._path("key")
    assert path is not None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return cache.get("key")  # its sum is against damage: one that fits, the fuzzer has made within two minutes


def session() -> list[bytes]:
    from livesam.engine.session.log import SessionLog
    from livesam.engine.values.painted import Painted
    from livesam.engine.values.prompt import Box, Click, Prompt
    from livesam.engine.values.step import Step
    from livesam.engine.values.window import Window

    window, logits = Window(0, 0, 30, 20), noise(8, 8)
    first = Step(Prompt((Click(3.0, 4.0, True),), Box(1.0, 2.0, 9.0, 8.0)), logits, 0.9, 1, window)
    second = Step(
        Prompt((Click(3.0, 4.0, False),), None, logits), logits, 0.8, 1, window, 2, Painted.of(noise(20, 30) > 0)
    )
    log = SessionLog("hash", (20, 30), "key", "d", (first, second))
    found = written(log.write, "seed.session")
    return [found, found.replace(b"livesam-session-4", b"livesam-session-3")]  # the second is read without its sum


def read_session(path: Path) -> object:
    from livesam.engine.session.log import SessionLog

    return SessionLog.read(path)


# Graphs and their manifests


def onnx_files() -> list[bytes]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(noise(4, 3), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return [model.SerializeToString()]


def graph(path: Path) -> object:
    from livesam.export.foreign.look_graphs import onnx_file

    return onnx_file(path, path.stat().st_size)


def manifests() -> list[bytes]:
    from livesam.export.files.manifest import Manifest, Tensor, Weight

    weights = {"w": Weight("mask_decoder.a", True, (3, 4))}
    made = Manifest("decoder", "nano", "fp32", 17, {"d.onnx": "0" * 64}, {"x": Tensor("float32", ("n", 4))}, {}, 512,
                    weights=weights, parity={"claim": "1e-4"})  # fmt: skip
    return [made.write(work() / "seed").read_bytes()]


def manifest(data: bytes) -> object:
    from livesam.export.files.manifest import Manifest, manifest_path

    path = work() / "d.onnx"
    manifest_path(path).write_bytes(data)
    found = Manifest.read(path)
    found.verify(work())
    return found


# Annotations of others


def dataset() -> Any:
    from livesam.app.annotations.values import Annotated, AnnotatedImage, Dataset

    disc, ring = np.zeros((2, 20, 30), np.bool_)
    disc[4:12, 5:20], ring[2:15, 2:15] = True, True
    ring[5:9, 5:9] = False
    objects = tuple(one for one in (Annotated.of("cat", disc), Annotated.of("d\u00f6g", ring)) if one is not None)
    return Dataset(("cat", "d\u00f6g"), [AnnotatedImage(name, (20, 30), objects) for name in ("a.png", "b/c.jpg")])


def annotations(format: str) -> list[bytes]:
    from livesam.app.annotations.formats import EXPORTS

    names = [name for name in EXPORTS if name.startswith(format)]
    found = []
    for name in names:
        buffer = io.BytesIO()
        EXPORTS[name].write(dataset(), buffer)
        found.append(buffer.getvalue())
    if format == "labelme":
        with zipfile.ZipFile(io.BytesIO(found[0])) as archive:
            found += [archive.read(name) for name in archive.namelist()]
        shapes = [{"label": "x", "points": [[1, 2], [9, 9]], "shape_type": kind} for kind in ("rectangle", "circle")]
        shapes.append({"label": "y", "points": [[1, 2], [9, 9], [3.5, 8]], "shape_type": "polygon"})
        content = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 30, "shapes": shapes}
        found.append(_json(content))
    return found


def imported(format: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        from livesam.app.annotations.formats import IMPORTS

        return [[one.mask(image.hw).sum() for one in image.objects] for image in IMPORTS[format](data).images]

    return read


def _json(content: object) -> bytes:
    import json

    return json.dumps(content).encode()


# The wire


def frames() -> list[bytes]:
    from livesam.wire import bits_of, pack

    mask = np.zeros((20, 30), np.bool_)
    mask[3:9, 4:19] = True
    box, bits = bits_of(mask)
    return [pack({"id": 1, "op": "paint", "box": box}, bits), pack({"id": 2, "op": "click", "x": 1.5, "y": 2})]


def frame(data: bytes) -> object:
    from livesam.app.server.fields import flag, index, label_of, number
    from livesam.wire import mask_of, unpack

    said, payload = unpack(data)
    if said.get("op") == "click":
        return number(said, "x"), number(said, "y"), flag(said, "positive", True)
    if said.get("op") == "accept":
        return label_of(said), index(said, "object")
    return mask_of(said.get("box"), payload, (20, 30))


def painted() -> list[bytes]:
    import base64
    import zlib

    from livesam.wire import bits_of

    box, bits = bits_of(noise(20, 30) > 0)
    return [_json({"painted": {"box": box, "bits": base64.b64encode(zlib.compress(bits)).decode()}})]


def read_painted(data: bytes) -> object:
    from livesam.app.server.journal import painted_of
    from livesam.wire import parse

    return painted_of(parse(data), (20, 30))


# What a server keeps


def databases() -> list[bytes]:
    import sqlite3

    from livesam.app.server.store import Store
    from stored import HW, accept

    folder = Path(tempfile.mkdtemp(dir=work()))
    store = Store(folder)
    store.note_image("0" * 20, "0.png", "h", HW)
    for number in range(1, 5):
        accept(store, number)
    store.close()
    with sqlite3.connect(folder / "annotations.sqlite") as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return [(folder / "annotations.sqlite").read_bytes()]


def database(data: bytes) -> object:
    from livesam.app.server.salvage import salvage
    from livesam.app.server.store import Store
    from stored import objects_of

    with tempfile.TemporaryDirectory(dir=work()) as name:
        folder = Path(name)
        (folder / "annotations.sqlite").write_bytes(data)
        try:
            store = Store(folder)
        except LivesamError:
            salvage(folder)
            store = Store(folder)
        try:
            found = objects_of(store)
            return [store.mask(number).sum() for number in found]
        finally:
            store.close()


TARGETS: dict[str, Target] = {
    "image": Target(image, (ImageError,), images),
    "pth": Target(in_file(contents, "x.pth"), (CheckpointError,), pth),
    "safetensors": Target(in_file(header, "x.safetensors"), (CheckpointError,), safetensors),
    "adapted": Target(in_file(read_adapted, "x.livesam.safetensors"), (CheckpointError,), adapted),
    "served": Target(read_served, (CheckpointError,), served),
    "cached": Target(read_cached, (), cached),
    "session": Target(in_file(read_session, "x.session"), (SessionError,), session),
    "onnx": Target(in_file(graph, "x.onnx"), (ExportError, CheckpointError), onnx_files),
    "manifest": Target(manifest, (ExportError,), manifests),
    "coco": Target(imported("coco"), (ValueError,), lambda: annotations("coco")),
    "labelme": Target(imported("labelme"), (ValueError,), lambda: annotations("labelme")),
    "frame": Target(frame, (ValueError,), frames),
    "painted": Target(read_painted, (ValueError,), painted),
    "database": Target(database, (LivesamError,), databases),
}


def attempt(name: str, data: bytes) -> bool:
    """Let a target read; whether it took the bytes. Anything but a documented refusal comes out."""
    target = TARGETS[name]
    try:
        target.read(data)
    except target.refusals:
        return False
    return True
