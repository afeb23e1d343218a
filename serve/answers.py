"""What the server answers, as Pydantic models.

Answers are checked against them, and the description of the API comes from them.
"""
from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.uploads import MOST_FILES

State = Literal["queued", "decoding", "faces", "judging", "done", "failed", "cancelled"]
FORM = {"required": True, "content": {"multipart/form-data": {
    "schema": {"type": "object", "required": ["file"], "additionalProperties": False, "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1,
                 "maxItems": MOST_FILES}}},
    "encoding": {"file": {"contentType": "image/png, image/jpeg, video/mp4, video/webm"}}}}}


class Problem(BaseModel):
    """Why a request was refused or a file could not be judged (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What failed, and what to do")


class Judgement(BaseModel):
    """One file's way from its upload to its result."""

    id: str
    url: str
    name: str = Field(description="What the client called the file")
    n_bytes: int
    state: State
    before: int = Field(description="Files that are judged first")
    n_frames: int = Field(description="Frames that have been read")
    result: dict[str, Any] | None = Field(description="The object of python -m classify.video --json, when done")
    problem: Problem | None = Field(description="When failed")
    faces: str | None = Field(description="Path of some judged faces, when done")
    sheet: str | None = Field(description="Path of the evidence sheet, while it is kept")


class Judgements(BaseModel):
    """Several judgements, in the order of the files or of the ids."""

    judgements: list[Judgement]


class Face(BaseModel):
    """A judged face. jpeg: a data: address."""

    time_s: float
    score: float
    where: str = Field(description="Which person, if several were judged")
    jpeg: str


class Faces(BaseModel):
    """Some of the judged faces, as small pictures."""

    faces: list[Face]


class Model(BaseModel):
    """The model that judges, and what may be sent."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    shipped: bool
    demo: bool
    threshold: float
    crop: str
    max_bytes: int
    max_files: int
    kinds: list[str]
    keep_s: float
    band: list[float] | None = Field(description="Scores from the first to below the second are undecided")


class Health(BaseModel):
    """Whether files can be judged."""

    state: Literal["ready", "starting", "broken"]


def refusals(reasons: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of a route. reasons: status -> why."""
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": why, "content": problem} for status, why in reasons.items()}
