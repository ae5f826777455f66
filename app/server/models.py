"""What goes over HTTP, for the checks and for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Corners = tuple[int, int, int, int]


class Strict(BaseModel):
    """Of which clients may send nothing but what is said here."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Wrong(BaseModel):
    """Code and sentence of what went wrong."""

    code: str
    message: str


class Refusal(BaseModel):
    """What went wrong."""

    error: Wrong


class LabelModel(Strict):
    """A label and its colour."""

    name: Name
    color: Color


class DoneModel(Strict):
    """Whether an image is done."""

    done: bool


class EnabledModel(Strict):
    """Whether it learns."""

    enabled: bool


class VersionModel(Strict):
    """A decoder's version."""

    version: Annotated[int, Field(ge=0, lt=2**53)]


class RelabelModel(Strict):
    """An object's new label."""

    label: Name


class ObjectModel(BaseModel):
    """An object that was accepted."""

    id: int
    label: str
    box: Corners
    area: int
    iou: float
    version: int
    clicks: int
    created: str
    source: Literal["click", "paint", "proposal", "import"]


class ImageModel(BaseModel):
    """An image in the list."""

    id: str
    name: str
    state: Literal["new", "started", "done"]
    objects: int


class ImagesModel(BaseModel):
    """A part of the list of images."""

    total: int
    done: int
    items: list[ImageModel]


class DetailsModel(BaseModel):
    """An image and what is in it."""

    id: str
    name: str
    width: int
    height: int
    deep: bool
    range: tuple[float, float]
    state: Literal["new", "started", "done"]
    objects: list[ObjectModel]


class InfoModel(BaseModel):
    """What this server is. ``image`` is the one that was opened last, ``ready`` whether images can be opened.

    ``index`` is the place in the list where to go on: of ``image``, else of the first image that is not done.
    """

    version: str
    model: str
    runtime: str
    folder: str
    domain: str
    image: str | None
    index: int | None
    ready: bool
    learning: bool
    labels: list[LabelModel]
    export_formats: list[str]
    import_formats: list[str]
    decoder_formats: list[str]
    limits: dict[str, float]


class LearningModel(BaseModel):
    """What is to be seen of the learning of one domain."""

    enabled: bool
    domain: str
    version: int
    versions: list[dict[str, Any]]
    objects: int
    clicks: int
    waiting: int
    left_out: int
    published: int
    refused: list[dict[str, Any]]
    history: list[dict[str, Any]]
    latency_ms: dict[str, float | None]
    last_error: str | None
    preparing: str | None


class ImportedModel(BaseModel):
    """What an import took."""

    objects: int
    images: int
    skipped: list[str]
