"""The five verbs of the front door: open a session, segment once, embed a folder, learn, export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.look import Look

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from livesam.adapter.learning.learner import Learner
    from livesam.adapter.learning.loop_state import LoopConfig
    from livesam.embedding import Embedded
    from livesam.engine.session.session import Session
    from livesam.engine.values.result import MaskResult
    from livesam.export.files.manifest import Manifest

Picture: TypeAlias = "str | Path | npt.NDArray[np.uint8]"

BEST = Look(zoom=True, obey=True, edges=True)


def open_session(
    model: str = "nano",
    checkpoint: Path | str | None = None,
    adapted: Path | str | None = None,
    runtime: str = "auto",
    device: str | None = None,
    *,
    size: int | None = None,
    look: Look | None = None,
    embeddings: Path | str | None = None,
) -> Session:
    """A session on the fastest runtime that works here.

    Args:
        model: ``nano`` (bundled), ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``.
        checkpoint: the model's weights file; None for nano's own, or what ``livesam download`` has fetched.
        adapted: a decoder that was learned on this model (``learn(keep=...)``); it serves from the first click on.
        runtime: ``auto``, ``torch``, ``onnxruntime``, ``openvino``, ``tensorrt`` or ``tensorrt_rtx``.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None: the GPU where the runtime can use it, else the CPU.
        size: side of the encoder's input in pixels: 512 or 1024 for nano, 1024 for the others. None for the
            one at which ``adapted`` was learned, or the usual one.
        look: zoom, obey and edges. None: all three for nano; all off for the official models, which then answer as
            ``SamPredictor`` does, to rounding. ``Look()`` turns all off for any model.
        embeddings: a folder of ``embed``, so that its images are not encoded again.

    Raises:
        ValueError: no such model, runtime, device or size, or no such folder.
        CheckpointError: a weights file is missing, damaged, or of another model.
        RuntimeUnavailable: the runtime does not work here; the message says why.
    """
    from livesam.export.opening import Opening
    from livesam.export.opening import open_session as open_it

    opening = Opening(model, _path(checkpoint), runtime, device=device, size=size)
    return open_it(opening, look=usual_look(model) if look is None else look, adapted=_path(adapted),
                   embeddings=_path(embeddings))  # fmt: skip


def usual_look(model: str) -> Look:
    """The look when none is given: zoom, obey and edges for nano, none of them for the official models."""
    return BEST if model == "nano" else Look()


def segment(
    image: Picture,
    clicks: Iterable[Click | Sequence[float]] = (),
    box: Box | Sequence[float] | None = None,
    model: str = "nano",
) -> MaskResult:
    """One mask of one image. For more than one, open a session: it encodes the image once.

    Args:
        image: a path, or RGB uint8 ``(H, W, 3)``.
        clicks: each a ``Click``, ``(x, y)`` on the object, or ``(x, y, False)`` on the background; pixels of the image.
        box: a ``Box`` or ``(x0, y0, x1, y1)`` around the object.
        model: as in ``open_session``.

    Raises:
        ValueError: neither clicks nor a box, or one that is outside of the image.
        ImageError: the image cannot be read.
        LivesamError: as ``open_session``.
    """
    prompt = Prompt(tuple(_click(c) for c in clicks), _box(box))  # said before a model is loaded
    session = open_session(model)
    try:
        session.set_image(image)
        result = None
        if prompt.box is not None:
            result = session.box(*prompt.box.as_tuple())
        for click in prompt.clicks:
            result = session.click(click.x, click.y, click.positive)
        assert result is not None  # a prompt has a click or a box
        return result
    finally:
        session.close()


def embed(
    paths: Path | str | Iterable[Path | str],
    out: Path | str,
    model: str = "nano",
    runtime: str = "auto",
    *,
    size: int | None = None,
) -> Embedded:
    """Encode images ahead of time, for ``open_session(embeddings=out)``; called again, it goes on where it stopped.

    Args:
        paths: images, or folders of them.
        out: a folder; made when missing.
        size: as in ``open_session``, which must be given the same.

    Returns:
        An ``Embedded``: how many were encoded, how many were there, and the reason for each one that was left out.

    Raises:
        ValueError: a path does not exist, or there is no image at all.
        LivesamError: as ``open_session``, or an embedding could not be written.
    """
    from livesam.embedding import embed_images, find_images
    from livesam.export.opening import Opening

    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return embed_images(find_images([Path(p) for p in given]), Path(out), Opening(model, runtime=runtime, size=size))


def learn(
    session: Session, method: str = "live", keep: Path | str | None = None, *, device: str = "cpu",
    config: LoopConfig | None = None,
) -> AbstractContextManager[Learner]:  # fmt: skip
    """Learn in the background from everything that the session is told, for the length of a ``with`` block.

    It begins with the decoder that the session serves now, learns for ``session.domain``, and follows when that
    changes. No click waits for it.

    Args:
        method: ``live`` (ours), ``paper`` (arXiv 2404.08421), ``dctta`` (arXiv 2506.23104) or ``frozen``.
        keep: a folder where each domain's decoder is saved, and taken up again the next time.
        device: ``cpu``, ``cuda`` or ``cuda:N``, for the gradient steps.
        config: when and how eagerly it learns.

    Raises:
        ValueError: no such method, or the session does not know its model.
        SessionError: the session learns already, or serves another decoder than the one that ``keep`` has.
        CheckpointError: what ``keep`` has is damaged or of another model.
    """
    from livesam.adapter.learning.learner import learn as learn_it

    return learn_it(session, method, keep=_path(keep), device=device, config=config)


def export_decoder(session: Session, format: str, out: Path | str, **options: Any) -> Manifest:
    """Write the decoder that the session serves now for another program; it is checked before it is kept.

    Args:
        format: ``sam-pth``, ``sam-onnx``, ``cvat``, ``cvat-onnx``, ``x-anylabeling``, ``hf``, ``openvino``,
            ``tensorrt``, ``safetensors`` or ``triton``; docs/formats.md has an example of each.
        out: the file, with the format's suffix, or the folder to write.
        options: the format's own.

    Raises:
        ValueError: unknown format, option or suffix, or the session does not know its model.
        RuntimeUnavailable: the format needs a library or a GPU that is not there.
        ExportError: the file could not be written. ParityError: it gave other answers than PyTorch; nothing was kept.
    """
    from livesam.engine.models.origin import known
    from livesam.export.decoder_export import export_sam

    origin, learner = known(session.origin), session.listeners.learner
    info = session.provenance if learner is None else learner.info()
    weights = session.slot.weights(session.slot.current)
    return export_sam(origin.sam(), origin.spec, format=format, out=Path(out), weights=weights, info=info, **options)


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _click(given: Click | Sequence[float]) -> Click:
    if isinstance(given, Click):
        return given
    if len(given) not in (2, 3):
        raise ValueError(f"a click is (x, y) or (x, y, positive), got {tuple(given)}")
    return Click(given[0], given[1], given[2] if len(given) == 3 else True)  # type: ignore[arg-type]


def _box(given: Box | Sequence[float] | None) -> Box | None:
    if given is None or isinstance(given, Box):
        return given
    if len(given) != 4:
        raise ValueError(f"a box is (x0, y0, x1, y1), got {tuple(given)}")
    return Box(*given)
