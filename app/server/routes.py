"""HTTP: images, objects, labels and learning."""

from __future__ import annotations

import io
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from livesam.app.annotations.values import Label
from livesam.app.server.fields import check_label
from livesam.app.server.models import (
    DetailsModel,
    DoneModel,
    EnabledModel,
    ImageModel,
    ImagesModel,
    InfoModel,
    LabelModel,
    LearningModel,
    ObjectModel,
    Refusal,
    RelabelModel,
    VersionModel,
)
from livesam.app.server.studio import Studio, domain_of
from PIL import Image

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": why}
    for status, why in (
        (404, "no such image, object or version"),
        (409, "not in this state"),
        (422, "not understood, or an image that cannot be read"),
        (500, "a mistake of the server's; its log says more"),
        (501, "what this machine's packages do not allow"),
        (503, "not now: the model is not open yet, a decoder was not taken, or all seats are in use"),
        (507, "the disk is full, or may not be written to"),
    )
}
PIXELS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in ("image/png", "image/jpeg", "image/webp")}}
}
NEW = (False, 0)  # of an image that was never opened: not done, no objects
CACHED = {"cache-control": "private, max-age=60"}

ImageId = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$")]
ObjectId = Annotated[int, Path(ge=1, lt=2**53)]

router = APIRouter(prefix="/api", responses=REFUSALS)


def studio_of(request: Request) -> Studio:
    """The server's studio."""
    studio: Studio = request.app.state.studio
    return studio


def decoder_name(
    domain: Annotated[str, Query(min_length=1, max_length=100)] = "default",
    private: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None,
) -> str:
    """Whose decoder is meant."""
    return domain_of(domain, private)


Server = Annotated[Studio, Depends(studio_of)]
DecoderName = Annotated[str, Depends(decoder_name)]


@router.get("/info")
def info(studio: Server) -> InfoModel:
    """What this server is, and what it can do."""
    from livesam.app.server.exchange import DECODER_FORMATS, EXPORTS, IMPORTS
    from livesam.engine.models.adapted import program_version

    settings, limits, current = studio.settings, studio.settings.limits, studio.current()
    ready = studio.why_not() is None
    return InfoModel(
        version=program_version(),
        model=settings.opening.model,
        runtime=studio.engine.encoder.runtime if ready else settings.opening.runtime,
        folder=studio.gallery.folder.name,
        domain="default",
        image=None if current is None else current.id,
        index=studio.place(),
        ready=ready,
        learning=settings.learning,
        labels=[LabelModel(name=one.name, color=one.color) for one in studio.store.labels()],
        export_formats=list(EXPORTS),
        import_formats=list(IMPORTS),
        decoder_formats=list(DECODER_FORMATS),
        limits={
            "frame_mib": limits.frame_mib,
            "body_mib": limits.body_mib,
            "import_mib": limits.import_mib,
            "sessions": limits.sessions,
            "idle_s": limits.idle_s,
        },
    )


@router.get("/images")
def images(
    studio: Server,
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ImagesModel:
    """A part of the list of images, by name."""
    found, states = studio.gallery.pictures(), studio.store.states()
    items = [
        ImageModel(id=one.id, name=one.name, state=_state(*states.get(one.id, NEW)), objects=states.get(one.id, NEW)[1])
        for one in found[offset : offset + limit]
    ]
    return ImagesModel(total=len(found), done=sum(states.get(one.id, NEW)[0] for one in found), items=items)


@router.get("/images/{image}")
def image_details(studio: Server, image: ImageId) -> DetailsModel:
    """An image and the objects in it."""
    picture = studio.gallery.find(image)
    loaded, done = studio.pictures.load(picture.path), studio.store.states().get(image, NEW)
    height, width = loaded.rgb.shape[:2]
    return DetailsModel(
        id=picture.id,
        name=picture.name,
        width=width,
        height=height,
        deep=loaded.deep is not None,
        range=(0.0, 255.0) if loaded.deep is None else (loaded.deep.low, loaded.deep.high),
        state=_state(*done),
        objects=[ObjectModel(**one.public()) for one in studio.store.objects(image)],
    )


@router.get("/images/{image}/pixels", response_class=Response, responses=PIXELS)
def pixels(studio: Server, image: ImageId, low: float | None = None, high: float | None = None) -> Response:
    """An image at full size; ``low`` and ``high`` are black and white of a deep one."""
    file = studio.pictures.shown(studio.gallery.find(image).path, low, high)
    return Response(file.data, media_type=file.type, headers=CACHED)


@router.get("/images/{image}/thumbnail", response_class=Response, responses=PIXELS)
def thumbnail(studio: Server, image: ImageId) -> Response:
    """An image whose long side has 160 pixels."""
    file = studio.pictures.thumbnail(studio.gallery.find(image).path)
    return Response(file.data, media_type=file.type, headers=CACHED)


@router.post("/images/{image}/done")
def set_done(studio: Server, image: ImageId, said: DoneModel) -> ImageModel:
    """Whether the user is through with an image."""
    picture = studio.gallery.find(image)
    studio.store.set_done(image, said.done)
    done, objects = studio.store.states()[image]
    return ImageModel(id=image, name=picture.name, state=_state(done, objects), objects=objects)


@router.get("/objects/{number}/mask", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def object_mask(studio: Server, number: ObjectId) -> Response:
    """An object's mask at the image's size, 0 and 255."""
    buffer = io.BytesIO()
    Image.fromarray(studio.store.mask(number)).convert("L").save(buffer, format="PNG", compress_level=1)
    return Response(buffer.getvalue(), media_type="image/png")


@router.delete("/objects/{number}", status_code=204)
def delete_object(studio: Server, number: ObjectId) -> None:
    """Forget an object."""
    studio.store.delete(number)


@router.patch("/objects/{number}")
def relabel(studio: Server, number: ObjectId, said: RelabelModel) -> ObjectModel:
    """Call an object something else."""
    return ObjectModel(**studio.store.relabel(number, check_label(said.label)).public())


@router.get("/labels")
def labels(studio: Server) -> list[LabelModel]:
    """What objects may be."""
    return [LabelModel(name=one.name, color=one.color) for one in studio.store.labels()]


@router.put("/labels")
def set_labels(studio: Server, said: list[LabelModel]) -> list[LabelModel]:
    """Say what objects may be; labels that objects have stay."""
    chosen = {check_label(one.name): one.color for one in said}
    studio.store.set_labels([Label(name, color) for name, color in chosen.items()])
    return labels(studio)


@router.get("/learning")
def learning(studio: Server, name: DecoderName) -> LearningModel:
    """What is to be seen of the learning."""
    return LearningModel(**studio.learning(name))


@router.post("/learning")
def enable(studio: Server, name: DecoderName, said: EnabledModel) -> LearningModel:
    """Learn, or do not."""
    with studio.using(name) as decoder:
        decoder.enable(said.enabled)
        return LearningModel(**decoder.state())


@router.post("/learning/rollback")
def rollback(studio: Server, name: DecoderName, said: VersionModel) -> LearningModel:
    """Serve an earlier version of the decoder again, and learn on from it; 0 is the model's own."""
    with studio.using(name) as decoder:
        decoder.rollback(said.version)
        return LearningModel(**decoder.state())


def _state(done: bool, objects: int) -> Any:
    return "done" if done else "started" if objects else "new"
