"""What the encoders, and the decoders that run our graph, have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from livesam.engine.files.hashing import hashes_begun, image_hash
from livesam.engine.serving.weight_copies import require_names
from livesam.engine.values.embedding import ImageEmbedding
from livesam.engine.values.errors import CheckpointError, SessionError, SwapError
from livesam.engine.values.prompt import Prompt
from livesam.engine.values.result import DecoderOutput
from livesam.engine.view.geometry import ResizeGeometry, prepare
from livesam.engine.view.points import PromptGroup, geometry_of, prompts_to_arrays

if TYPE_CHECKING:
    from livesam.engine.values.embedding import Features
    from livesam.engine.values.protocols import DecoderWeights, MaskDecoder, Painter

Float = npt.NDArray[np.float32]


class PreparedEncoder:
    """An encoder whose engine takes the prepared float32 input ``(B, 3, S, S)``; subclasses give ``_run``.

    Attributes:
        image_size: side S of the model's square input.
        identity: hash of the encoder's weights, part of every embedding's key.
        batch: the most images that ``encode_batch`` takes; None for as many as memory does.
    """

    def __init__(self, image_size: int, identity: str, runtime: str, batch: int | None = 1) -> None:
        self.image_size = image_size
        self.identity = identity
        self.batch = batch
        self._runtime = runtime
        self._open = True

    @property
    def runtime(self) -> str:
        """The runtime that really runs, with device and precision."""
        return self._runtime

    def key(self, digest: str) -> str:
        """The key of the embedding of an image with this ``image_hash``.

        Runtimes of one precision share it: their numbers differ by less than the tolerance of an export.
        """
        return f"{digest}:{self.identity}:{self.image_size}:{self._runtime.rpartition(':')[2]}"

    def encode(self, image: npt.NDArray[np.uint8], digest: str | None = None) -> ImageEmbedding:
        """Encode one RGB image, uint8 ``(H, W, 3)``; ``digest`` is its ``image_hash`` where the caller has it already.

        Raises:
            ValueError: the image is not uint8 ``(H, W, 3)``, or empty.
            SessionError: the encoder is closed.
        """
        if not self._open:
            raise SessionError("the encoder is closed: open a new session")
        features = self._features([image])[0]
        embedding = self._embedding(image, features, digest)  # hashed while a device is at work
        self._settle()
        return embedding

    def encode_batch(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """Encode RGB images of any sizes, uint8 ``(H, W, 3)`` each, in one run; at most ``batch`` of them.

        The keys are those of ``encode``; the features differ from its in the last bits.

        Raises:
            ValueError: there is no image or more than ``batch``, or one is not uint8 ``(H, W, 3)``, or empty.
            SessionError: the encoder is closed.
        """
        if not self._open:
            raise SessionError("the encoder is closed: open a new session")
        if not images or (self.batch is not None and len(images) > self.batch):
            allowed = "1 or more" if self.batch is None else f"1 to {self.batch}"
            raise ValueError(f"this encoder takes {allowed} images at once, got {len(images)}: open it for more")
        digests = hashes_begun(images)
        found = self._features(images)
        made = [self._embedding(*one) for one in zip(images, found, digests, strict=True)]
        self._settle()
        return made

    def _embedding(self, image: npt.NDArray[np.uint8], features: Features, digest: str | None) -> ImageEmbedding:
        geometry = ResizeGeometry.of((image.shape[0], image.shape[1]), self.image_size)
        key = self.key(image_hash(image) if digest is None else digest)
        return ImageEmbedding(features, geometry.original_hw, geometry.resized_hw, key)

    def close(self) -> None:
        """Free the engine; later calls raise ``SessionError``."""
        self._open = False
        self._free()

    def _features(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Features]:
        """Features ``(1, 256, h, w)`` of each image, each in memory of its own, as caches free them one by one."""
        if len(images) == 1:
            return [self._run(prepare(images[0], self.image_size))]
        found = self._run(np.concatenate([prepare(image, self.image_size) for image in images]))
        rows = (found[i : i + 1] for i in range(len(images)))
        return [row.copy() if isinstance(row, np.ndarray) else row.clone() for row in rows]

    def _settle(self) -> None:
        """Wait until the features are there, where ``_features`` left a device at work."""

    def _run(self, prepared: Float) -> Features:
        """Features ``(B, 256, h, w)`` of inputs ``(B, 3, S, S)``."""
        raise NotImplementedError

    def _free(self) -> None:
        raise NotImplementedError


class GroupedDecoder:
    """A decoder that answers groups of equally long prompts; subclasses give ``_run`` and ``_free``."""

    concurrent: bool = True  # one instance may answer several threads at once

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._open = True

    @property
    def runtime(self) -> str:
        """The runtime that really runs, with device and precision."""
        return self._runtime

    @property
    def aside(self) -> MaskDecoder:
        """The same weights for answers that nobody waits for."""
        return self

    @property
    def painter(self) -> Painter | None:
        """Nobody: the host draws masks."""
        return None

    def decode(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> DecoderOutput:
        """Answer one prompt or many on the same image; those with equally many points run as one batch.

        Raises:
            ValueError: there is no prompt, or mask logits have another shape than the decoder's.
            SessionError: the decoder is closed.
        """
        if not self._open:
            raise SessionError("the decoder is closed: open a new session")
        groups = prompts_to_arrays(prompts, geometry_of(embedding))
        if len(groups) == 1:  # the indices of a single group are in order: no copy
            logits, ious = self._run(embedding, groups[0])
            return DecoderOutput(logits, ious)
        answers = [self._run(embedding, group) for group in groups]
        logits = np.empty((len(prompts), *answers[0][0].shape[1:]), np.float32)
        ious = np.empty((len(prompts), 4), np.float32)
        for group, (group_logits, group_ious) in zip(groups, answers, strict=True):
            logits[list(group.indices)] = group_logits
            ious[list(group.indices)] = group_ious
        return DecoderOutput(logits, ious)

    def load_weights(self, weights: DecoderWeights) -> None:
        """Put new weights in place; never while a decode is running.

        Raises:
            SwapError: they are no weights of this decoder.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Free the engine; later calls raise ``SessionError``."""
        self._open = False
        self._free()

    def _run(self, embedding: ImageEmbedding, group: PromptGroup) -> tuple[Float, Float]:
        """Low-res logits ``(P, 4, 4h, 4w)`` and IoUs ``(P, 4)`` that nobody writes to afterwards."""
        raise NotImplementedError

    def _free(self) -> None:
        raise NotImplementedError


class WeightBuffers:
    """The decoder tensors of one serving graph, in the graph's names and layout, at addresses that never change.

    Engines are bound to these arrays once; new weights are written into them, but for those that are there already.

    Args:
        layout: by graph name the state-dict key, whether all its axes are reversed, and the stored shape.
    """

    def __init__(self, layout: Mapping[str, tuple[str, bool, tuple[int, ...]]]) -> None:
        self._layout = dict(layout)
        self.arrays: dict[str, Float] = {name: np.zeros(shape, np.float32) for name, (_, _, shape) in layout.items()}
        self._filled: dict[str, Float] = {}  # with what, by state-dict key; read-only arrays only

    def fill(self, weights: DecoderWeights) -> list[str]:
        """Write official weights into the buffers; all names and shapes are checked before the first byte is written.

        A read-only array that is the very object of the last time is taken to be unchanged. Whether values are finite
        is the slot's to check.

        Returns:
            The graph's names of the buffers that were written.

        Raises:
            SwapError: names or shapes are not those of this decoder.
        """
        require_names(weights, {key for key, _, _ in self._layout.values()})
        sources: dict[str, Float] = {}
        for name, (key, transpose, shape) in self._layout.items():
            source = np.asarray(weights[key], dtype=np.float32)
            source = source.T if transpose else source
            if source.shape != shape:
                raise SwapError(f"{key} has the shape {np.shape(weights[key])}, the graph's {name} takes {shape}")
            if self._filled.get(key) is not weights[key]:
                sources[name] = source
        self._filled = {}  # until all is written
        for name, source in sources.items():
            if self._layout[name][1] and source.ndim == 2:
                cv2.transpose(np.ascontiguousarray(source.T), self.arrays[name])  # in blocks: 4 times NumPy's speed
            else:
                np.copyto(self.arrays[name], source)
        self._filled = {key: value for key, value in weights.items() if not value.flags.writeable}
        return list(sources)

    def forget(self) -> None:
        """Let the next ``fill`` write all, whatever the buffers hold."""
        self._filled = {}


def read_manifest(path: Path) -> dict[str, object]:
    """The manifest that the exporter writes beside a graph, ``<path>.json``.

    Raises:
        CheckpointError: the graph or its manifest is missing or damaged.
    """
    manifest = path.with_name(path.name + ".json")
    try:
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        raw = json.loads(manifest.read_text())
        if not isinstance(raw, dict):
            raise TypeError("not a JSON object")
        return raw
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is no graph that livesam exported ({error}): export it again") from error


def weight_layout(manifest: Mapping[str, object], path: Path) -> dict[str, tuple[str, bool, tuple[int, ...]]]:
    """How the graph's overridable initializers come from the official tensors; empty where none can be overridden.

    Raises:
        CheckpointError: the manifest is damaged.
    """
    if not manifest.get("weights_as_inputs"):
        return {}
    try:
        weights = manifest["weights"]
        if not isinstance(weights, dict):
            raise TypeError("weights are no JSON object")
        return {
            name: (str(entry["key"]), bool(entry["transpose"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in weights.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the manifest of {path} is damaged ({error}): export the graph again") from error


def graph_numbers(manifest: Mapping[str, object], path: Path) -> tuple[int, str]:
    """The model's input size and the hash of its weights, from the manifest.

    Raises:
        CheckpointError: the manifest is damaged.
    """
    try:
        files = manifest.get("files")
        first = next(iter(files.values()), "") if isinstance(files, dict) else ""
        return int(str(manifest["image_size"])), str(manifest.get("weights_hash") or first)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the manifest of {path} is damaged ({error}): export the graph again") from error


def graph_batch(manifest: Mapping[str, object]) -> int | None:
    """How many images an encoder graph takes at once: None for any number, where its batch is dynamic, else 1."""
    inputs = manifest.get("inputs")
    image = inputs.get("image") if isinstance(inputs, dict) else None
    shape = image.get("shape") if isinstance(image, dict) else None
    return None if isinstance(shape, list) and shape[:1] == ["batch"] else 1
