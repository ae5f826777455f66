"""``livesam segment``: one object of one image, from clicks or a box, to a mask file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from livesam.app.options import (
    BandsOption,
    CheckpointOption,
    DeviceOption,
    EdgesOption,
    ModelOption,
    ObeyOption,
    PlainOption,
    PrecisionOption,
    Runtime,
    RuntimeOption,
    SizeOption,
    ZoomOption,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    from livesam.engine.session.session import Session
    from livesam.engine.values.result import MaskResult

PICTURES = (".png", ".jpg", ".jpeg")


def segment(
    image: Annotated[Path, typer.Argument(help="JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF...", metavar="IMAGE")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Mask to write: PNG, 0/255, the image's size.")],
    click: Annotated[
        list[str] | None,
        typer.Option("--click", "-c", help="X,Y on the object, X,Y,- beside it; repeatable.", metavar="X,Y[,-]"),
    ] = None,
    box: Annotated[str | None, typer.Option("--box", "-b", help="Around the object.", metavar="X0,Y0,X1,Y1")] = None,
    model: ModelOption = "nano",
    size: SizeOption = None,
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    adapted: Annotated[
        Path | None, typer.Option("--adapted", help="Decoder that was learned on this model.", metavar="FILE")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Give the box and then the clicks one by one, as a session does.")
    ] = False,
    zoom: ZoomOption = None,
    obey: ObeyOption = None,
    edges: EdgesOption = None,
    plain: PlainOption = False,
    bands: BandsOption = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            help="Folder of `livesam embed`: IMAGE is not encoded if it is there, made by this model and precision; "
            "else it is, and kept there.",
            metavar="DIR",
        ),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", help="Also draw mask and clicks on the image.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Describe the answer as JSON on stdout.")] = False,
) -> None:
    """Segment one object of IMAGE from clicks, a box, or both, and write its mask.

    The decoder is asked once, with everything together. In a session each click corrects the answer before, and from
    the second one on zoom looks closer: --replay does that.
    """
    from livesam.app.arguments import build_prompt, parse_bands

    # Everything that can be said without an engine is said before one is loaded.
    prompt, chosen = build_prompt(click or [], box), parse_bands(bands)
    _check_outputs(image, out, overlay)
    if embeddings is not None and not embeddings.is_dir():
        raise ValueError(f"--embeddings: there is no folder {str(embeddings)!r}, make it with `livesam embed`")
    if zoom and not replay:
        raise ValueError("--zoom looks closer from the second click on, so give the clicks one by one: add --replay")

    from livesam.engine.files.image import read_image, write_mask
    from livesam.engine.view.points import check_prompt, fitted

    pixels = read_image(image, bands=chosen)
    prompt = fitted(prompt, (pixels.shape[0], pixels.shape[1]))
    check_prompt(prompt, (pixels.shape[0], pixels.shape[1]), low_res_hw=(0, 0))

    from livesam.app.opening import look_of, open_session, opening_of
    from livesam.opening import missing_for, replayed

    opening = opening_of(model, checkpoint, runtime, precision, device, size)
    look = look_of(model, zoom if replay else False, obey, edges, plain=plain)
    missing = missing_for(model, opening.runtime, "leave")  # one image is over before an engine is built
    session = open_session(opening, look=look, adapted=adapted, embeddings=embeddings, missing=missing)
    if session.preparing.state == "pending":
        given = "" if checkpoint is None else f" --checkpoint {checkpoint}"
        typer.echo(f"livesam: PyTorch answers, {model} has no engine: run `livesam prepare {model}{given}`", err=True)
    started = time.perf_counter()
    stored = embeddings is not None and _is_stored(session, pixels)
    session.set_image(pixels)
    image_ms = (time.perf_counter() - started) * 1e3
    result = replayed(session, prompt) if replay else session.predict(prompt)

    write_mask(out, result.mask)  # first: an overlay without its mask would look like an answer
    if overlay is not None:
        from livesam.engine.files.picture import write_picture
        from livesam.engine.view.overlay import Layer, draw

        write_picture(overlay, draw(pixels, [Layer(result.mask, prompt.clicks, prompt.box)]))

    # The session's stages are those of a click; here the image was encoded, or its embedding read, for this one answer.
    stages = {
        "read_embedding" if stored else "encode": image_ms,
        **result.timings_ms,
        "total": image_ms + result.timings_ms["total"],
    }
    timings_ms = {name: round(value, 3) for name, value in stages.items()}
    if as_json:
        _tell_json(out, result, timings_ms, session.runtime)
        return
    how = f"{timings_ms['total']:.1f} ms"
    if embeddings is not None:
        how += ", stored embedding" if stored else f", encoded: {embeddings} did not have it in this precision"
    typer.echo(f"{out}: {100.0 * float(result.mask.mean()):.1f} % of the image, estimated IoU {result.iou:.2f}, {how}")


def _check_outputs(image: Path, out: Path, overlay: Path | None) -> None:
    """Refuse what cannot be written, before anything is loaded."""
    from livesam.app.arguments import check_not_input, check_output

    check_output(out, "--out", (".png",))
    check_not_input(out, "--out", image)
    if overlay is not None:
        check_output(overlay, "--overlay", PICTURES)
        check_not_input(overlay, "--overlay", image)
        if overlay.resolve() == out.resolve():
            raise ValueError(f"--out and --overlay name the same file: {str(out)!r}")


def _tell_json(out: Path, result: MaskResult, timings_ms: Mapping[str, float], runtime: str) -> None:
    import json

    answer = {
        "mask": str(out),
        "iou": round(float(result.iou), 4),
        "decoder_version": result.decoder_version,
        "timings_ms": dict(timings_ms),
        "runtime": runtime,
    }
    typer.echo(json.dumps(answer, allow_nan=False))


def _is_stored(session: Session, pixels: npt.NDArray[np.uint8]) -> bool:
    from livesam.engine.files.hashing import image_hash

    return session.encoder.find(image_hash(pixels)) is not None
