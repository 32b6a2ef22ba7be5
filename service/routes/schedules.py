"""What schedules there are: families, export formats, and the schemas of the documents."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from lrtuner.candidates import family_space
from lrtuner.document import SCHEMA_NAME
from lrtuner.errors import NotFoundError
from lrtuner.export import EXPORTERS
from lrtuner.job import JobSpec
from lrtuner.jsontext import dumps
from lrtuner.schedules import FAMILIES, SEARCHED
from lrtuner.schedules.plateau import Plateau
from lrtuner.schema import DIALECT, schedule_schema
from lrtuner.space import Range
from service.dependencies import SettingsDep
from service.problem import documented

router = APIRouter(prefix="/v1", tags=["schedules"])

SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    SCHEMA_NAME: schedule_schema,
    "job": JobSpec.model_json_schema,
}


class Family(BaseModel):
    """A schedule family: the body of a schedule, or the rule of one that reacts to a metric."""

    name: str
    kind: Literal["closed_form", "reactive"] = Field(
        description="Whether its rates are a function of time, or react to a metric."
    )
    searched: bool = Field(description="Whether a search may propose it.")
    formula: str
    parameters: dict[str, Any] = Field(description="JSON Schema of the body.")
    search_space: dict[str, Range] = Field(
        description="What a search draws, named as in the `params` of a trial; empty if nothing."
    )


class Families(BaseModel):
    """All schedule families."""

    items: list[Family]


class Export(BaseModel):
    """A form that a recommendation can be downloaded in."""

    name: str = Field(description="What `format` of the download takes.")
    title: str
    media_type: str
    filename: str


class Exports(BaseModel):
    """All export formats."""

    items: list[Export]


@router.get("/families", responses=documented())
def list_families() -> Families:
    """The schedule families with their formulas, parameters and search spaces."""
    items = [
        Family(
            name=name,
            kind="closed_form",
            searched=name in SEARCHED,
            formula=inspect.getdoc(body) or "",
            parameters=body.model_json_schema(),
            search_space=family_space(name),
        )
        for name, body in FAMILIES.items()
    ]
    plateau = Family(
        name="plateau",
        kind="reactive",
        searched=False,
        formula=inspect.getdoc(Plateau) or "",
        parameters=Plateau.model_json_schema(),
        search_space={},
    )
    return Families(items=[*items, plateau])


@router.get("/exports", responses=documented())
def list_exports() -> Exports:
    """The formats that a recommendation can be downloaded in."""
    return Exports(
        items=[
            Export(
                name=name,
                title=exporter.title,
                media_type=exporter.media_type,
                filename=exporter.filename,
            )
            for name, exporter in EXPORTERS.items()
        ]
    )


@router.get(
    "/schema/{name}.json",
    response_class=Response,
    responses={
        200: {"content": {"application/schema+json": {}}, "description": "The JSON Schema."},
        **documented(404),
    },
)
def show_schema(name: str, settings: SettingsDep) -> Response:
    """The JSON Schema (2020-12) of a document: `schedule-1.0` or `job`."""
    if name not in SCHEMAS:
        raise NotFoundError(f"There is no schema of that name; there are {', '.join(SCHEMAS)}.")
    schema = {"$schema": DIALECT} | SCHEMAS[name]()
    schema["$id"] = f"{settings.public_url}/v1/schema/{name}.json"
    text = dumps(schema, indent=2) + "\n"
    return Response(text, media_type="application/schema+json")
