"""``livesam segment``: one object of one image, from clicks or a box, to a mask file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from livesam.app.options import CheckpointOption, DeviceOption, ModelOption, PrecisionOption, Runtime, RuntimeOption

PICTURES = (".png", ".jpg", ".jpeg")


def segment(
    image: Annotated[Path, typer.Argument(help="JPEG, PNG, WebP, BMP or TIFF.", metavar="IMAGE")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Mask to write: PNG, 0/255, the image's size.")],
    click: Annotated[
        list[str] | None,
        typer.Option("--click", "-c", help="X,Y on the object, X,Y,- beside it; repeatable.", metavar="X,Y[,-]"),
    ] = None,
    box: Annotated[str | None, typer.Option("--box", "-b", help="Around the object.", metavar="X0,Y0,X1,Y1")] = None,
    model: ModelOption = "nano",
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = Runtime.auto,
    precision: PrecisionOption = None,
    device: DeviceOption = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", help="Also draw mask and clicks on the image.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Describe the answer as JSON on stdout.")] = False,
) -> None:
    """Segment one object of IMAGE from clicks, a box, or both, and write its mask."""
    from livesam.app.arguments import build_prompt, check_output

    # Everything that can be said without an engine is said before one is loaded.
    prompt = build_prompt(click or [], box)
    check_output(out, "--out", (".png",))
    if overlay is not None:
        check_output(overlay, "--overlay", PICTURES)
        if overlay.resolve() == out.resolve():
            raise ValueError(f"--out and --overlay name the same file: {str(out)!r}")

    from livesam.engine.image import read_image, write_mask
    from livesam.engine.points import check_prompt

    pixels = read_image(image)
    check_prompt(prompt, (pixels.shape[0], pixels.shape[1]), low_res_hw=(0, 0))

    from livesam.app.opening import open_session

    session = open_session(model, checkpoint=checkpoint, runtime=runtime, precision=precision, device=device)
    started = time.perf_counter()
    session.set_image(pixels)
    encode_ms = (time.perf_counter() - started) * 1e3
    result = session.predict(prompt)

    write_mask(out, result.mask)  # first: an overlay without its mask would look like an answer
    if overlay is not None:
        from livesam.app.overlay import Layer, draw, save

        save(overlay, draw(pixels, [Layer(result.mask, prompt.clicks, prompt.box)]))

    # The session's stages are those of a click; here the image was encoded for this one answer.
    stages = {"encode": encode_ms, **result.timings_ms, "total": encode_ms + result.timings_ms["total"]}
    timings_ms = {name: round(value, 3) for name, value in stages.items()}
    if as_json:
        import json

        answer = {
            "mask": str(out),
            "iou": round(float(result.iou), 4),
            "decoder_version": result.decoder_version,
            "timings_ms": timings_ms,
            "runtime": session.runtime,
        }
        typer.echo(json.dumps(answer, allow_nan=False))
        return
    share = 100.0 * float(result.mask.mean())
    typer.echo(f"{out}: {share:.1f} % of the image, estimated IoU {result.iou:.2f}, {timings_ms['total']:.1f} ms")
