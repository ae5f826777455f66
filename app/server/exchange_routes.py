"""HTTP: annotations and decoders as files."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from livesam.app.server import exchange
from livesam.app.server.models import ImportedModel, Refusal
from livesam.app.server.routes import REFUSALS, DecoderName, Server
from starlette.concurrency import run_in_threadpool

FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}, "application/zip": {}, "application/json": {}}},
    500: {"model": Refusal, "description": "it could not be written"},
    501: {"model": Refusal, "description": "this machine cannot write it"},
}
TYPES = {".zip": "application/zip", ".json": "application/json", ".xml": "application/xml"}

Format = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,32}$")]

router = APIRouter(prefix="/api", responses=REFUSALS)


@router.get("/export/{format}", response_class=Response, responses=FILE)
def export(studio: Server, format: Format) -> Response:
    """Everything that was accepted, as a file for another program."""
    return _download(*exchange.export(studio, format))


@router.get("/decoder/{format}", response_class=Response, responses=FILE)
def decoder(studio: Server, format: Format, name: DecoderName) -> Response:
    """The decoder that serves, as a file for another program; it is checked against PyTorch first."""
    with studio.using(name) as chosen:
        return _download(*exchange.decoder_file(chosen, studio, format))


@router.post(
    "/import/{format}",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def take_in(studio: Server, format: Format, request: Request) -> ImportedModel:
    """Take the objects of a COCO file, or of a labelme file or a zip of them."""
    data = await request.body()
    done = await run_in_threadpool(exchange.take_in, studio, format, data)
    return ImportedModel(objects=done.objects, images=done.images, skipped=done.skipped)


def _download(name: str, data: bytes) -> Response:
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    kind = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), "application/octet-stream")
    headers = {"content-disposition": f'attachment; filename="{plain}"', "cache-control": "no-store"}
    return Response(data, media_type=kind, headers=headers)
