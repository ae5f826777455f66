"""The verbs of the front door: open a session, segment once, prepare a model, embed a folder, learn, export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from livesam.engine.files.places import as_path
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.engine.view.look import Look, check_look

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from livesam.adapter.learning.learner import Learner
    from livesam.adapter.learning.loop_state import LoopConfig
    from livesam.embedding import Embedded
    from livesam.engine.session.session import Session
    from livesam.engine.values.result import MaskResult
    from livesam.export.files.manifest import Manifest
    from livesam.export.opening import Missing
    from livesam.export.preparing.record import Prepared

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

    Where ``auto`` finds no engine of a larger model than nano, PyTorch answers at once; after the first image a child
    process exports, checks and builds one, and the session changes over between two images. ``session.preparing`` says
    how far that is. A runtime that is named is waited for. ``prepare`` builds ahead of time.

    Args:
        model: ``nano`` (bundled), ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``.
        checkpoint: the model's weights file; None for nano's own, or what ``livesam download`` has fetched.
        adapted: a decoder that was learned on this model (``learn(keep=...)``); it serves from the first click on.
        runtime: ``auto``, ``torch``, ``onnxruntime``, ``openvino``, ``tensorrt``, ``onnxruntime:tensorrt`` or
            ``tensorrt_rtx``.
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

    look = usual_look(model) if look is None else check_look(look)
    opening = Opening(model, _path(checkpoint, "checkpoint"), runtime, device=device, size=size)
    learned, folder = _path(adapted, "adapted"), _path(embeddings, "embeddings")
    missing = missing_for(model, runtime, "beside")
    session = open_it(opening, look=look, adapted=learned, embeddings=folder, missing=missing)
    session.canvas = _widget
    return session


def _widget(session: Session, image: Picture, labels: Sequence[str]) -> Any:
    from livesam.canvas import widget

    return widget(session, image, labels)


def missing_for(model: str, runtime: str, otherwise: Missing) -> Missing:
    """What is done about an engine that is missing: nano's takes seconds, and who names a runtime wants that one."""
    return "wait" if model == "nano" or runtime != "auto" else otherwise


def prepare(
    model: str = "nano",
    checkpoint: Path | str | None = None,
    runtime: str = "auto",
    device: str | None = None,
    *,
    size: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Export, check and build a model's engines ahead of time, so that ``open_session`` finds them.

    Interrupted, it goes on after the last file that was finished; what is there is not made again.

    Args:
        model, checkpoint, runtime, device, size: as in ``open_session``.
        progress: is told each stage, in a few words.

    Raises:
        ExportError: there is not enough memory, or an engine answers otherwise than PyTorch.
        LivesamError: as ``open_session``.
    """
    from livesam.export.graphs.graph_cache import quiet
    from livesam.export.opening import Opening
    from livesam.export.preparing.prepare import prepare as prepare_it

    opening = Opening(model, _path(checkpoint, "checkpoint"), runtime, device=device, size=size)
    return prepare_it(opening, quiet if progress is None else progress)


def usual_look(model: str) -> Look:
    """The look when none is given: zoom, obey and edges for nano, none of them for the official models."""
    return BEST if model == "nano" else Look()


def segment(
    image: Picture,
    clicks: Iterable[Click | Sequence[float]] = (),
    box: Box | Sequence[float] | None = None,
    model: str = "nano",
    *,
    bands: Sequence[int] | None = None,
) -> MaskResult:
    """One mask of one image. For more than one, open a session: it encodes the image once.

    The box and then the clicks are given one by one, as in a session: each corrects the answer before, and nano looks
    closer from the second on. The command ``livesam segment`` asks once, with all of them together, so that its mask
    may be another; with ``--replay`` it does the same as this.

    Args:
        image: a path, or RGB uint8 ``(H, W, 3)``.
        clicks: each a ``Click``, ``(x, y)`` on the object, or ``(x, y, False)`` on the background; pixels of the image.
        box: a ``Box`` or ``(x0, y0, x1, y1)`` around the object.
        model: as in ``open_session``.
        bands: of an image file that does not say which are colours: three numbers from 1 on as red, green and blue, or
            one as grey.

    Raises:
        ValueError: neither clicks nor a box, one that is outside of the image, or ``bands`` that are wrong.
        ImageError: the image cannot be read.
        LivesamError: as ``open_session``.
    """
    if isinstance(clicks, Click) or not isinstance(clicks, Iterable):
        raise ValueError(f"clicks are a list of (x, y) or (x, y, positive), got {clicks!r}")
    prompt = Prompt(tuple(_click(c) for c in clicks), _box(box))  # said before a model is loaded
    from livesam.export.opening import Opening
    from livesam.export.opening import open_session as open_it

    session = open_it(Opening(model), look=usual_look(model), missing=missing_for(model, "auto", "leave"))
    try:
        session.set_image(image, bands=bands)
        return replayed(session, prompt)
    finally:
        session.close()


def replayed(session: Session, prompt: Prompt) -> MaskResult:
    """The last answer of a session that is given a prompt's box and then its clicks, one by one."""
    answers = [] if prompt.box is None else [session.box(*prompt.box.as_tuple())]
    answers += [session.click(click.x, click.y, click.positive) for click in prompt.clicks]
    return answers[-1]


def embed(
    paths: Path | str | Iterable[Path | str],
    out: Path | str,
    model: str = "nano",
    runtime: str = "auto",
    *,
    size: int | None = None,
    checkpoint: Path | str | None = None,
    bands: Sequence[int] | None = None,
) -> Embedded:
    """Encode images ahead of time, for ``open_session(embeddings=out)``; called again, it goes on where it stopped.

    Args:
        paths: images, or folders of them.
        out: a folder; made when missing.
        size: as in ``open_session``, which must be given the same.
        checkpoint: likewise.
        bands: as in ``segment``, of all images; sessions find the embedding with the same ``set_image(bands=...)``.

    Returns:
        An ``Embedded``: how many were encoded, how many were there, and the reason for each one that was left out.

    Raises:
        ValueError: a path does not exist, there is no image at all, or ``bands`` are wrong.
        LivesamError: as ``open_session``, or an embedding could not be written.
    """
    from livesam.embedding import embed_images, find_images
    from livesam.engine.files.number_format import check_bands
    from livesam.export.opening import Opening

    chosen = None if bands is None else check_bands(bands)
    given = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str) else [paths]
    images = find_images([as_path(path, "an image, or a folder of them,") for path in given])
    opening = Opening(model, _path(checkpoint, "checkpoint"), runtime, size=size)
    return embed_images(images, as_path(out, "out"), opening, bands=chosen)


def learn(
    session: Session, method: str = "live", keep: Path | str | None = None, *, device: str | None = None,
    config: LoopConfig | None = None,
) -> AbstractContextManager[Learner]:  # fmt: skip
    """Learn in the background from everything that the session is told, for the length of a ``with`` block.

    It begins with the decoder that the session serves now, learns for ``session.domain``, and follows when that
    changes. No click waits for it.

    Args:
        method: ``live`` (ours), ``paper`` (arXiv 2404.08421), ``dctta`` (arXiv 2506.23104) or ``frozen``.
        keep: a folder where each domain's decoder is saved, and taken up again the next time.
        device: ``cpu``, ``cuda`` or ``cuda:N``, for the gradient steps; None for the GPU on which PyTorch answers
            clicks, else the CPU.
        config: when and how eagerly it learns.

    Raises:
        ValueError: no such method, or the session does not know its model.
        SessionError: the session learns already, or serves another decoder than the one that ``keep`` has.
        CheckpointError: what ``keep`` has is damaged or of another model.
    """
    from livesam.adapter.learning.learner import learn as learn_it

    return learn_it(_session(session, "learn"), method, keep=_path(keep, "keep"), device=device, config=config)


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

    file = as_path(out, "out")
    origin, learner = known(_session(session, "export_decoder").origin), session.listeners.learner
    info = session.provenance if learner is None else learner.info()
    weights = session.slot.weights(session.slot.current)
    return export_sam(origin.sam(), origin.spec, format=format, out=file, weights=weights, info=info, **options)


def _path(path: Path | str | None, name: str) -> Path | None:
    return None if path is None else as_path(path, name)


def _session(session: Session, verb: str) -> Session:
    from livesam.engine.session.session import Session

    if not isinstance(session, Session):
        raise ValueError(f"{verb} takes a session, got {session!r}: give what open_session has returned")
    return session


def _click(given: Click | Sequence[float]) -> Click:
    if isinstance(given, Click):
        return given
    parts = _parts(given)
    if len(parts) not in (2, 3):
        raise ValueError(f"a click is (x, y) or (x, y, positive), got {given!r}; clicks are a list of them")
    return Click(*parts)


def _box(given: Box | Sequence[float] | None) -> Box | None:
    if given is None or isinstance(given, Box):
        return given
    parts = _parts(given)
    if len(parts) != 4:
        raise ValueError(f"a box is (x0, y0, x1, y1), got {given!r}")
    return Box(*parts)


def _parts(given: Any) -> tuple[Any, ...]:
    try:
        return tuple(given)
    except TypeError:  # a number, None
        return ()
