"""Whether the service is up, whether it can work, and where everything is."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

import lrtuner
from lrtuner.errors import NotFoundError
from lrtuner.store.level import Level
from service.dependencies import SettingsDep, StorageDep
from service.problem import KINDS, documented

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The service can work. `migrations` is `newer` while a later version is rolled out."""

    status: Literal["ready"] = "ready"
    database: str
    migrations: Literal["current", "newer"]


class Index(BaseModel):
    """Where everything is."""

    name: Literal["lrtuner"] = "lrtuner"
    version: str
    links: dict[str, str]


class ProblemKind(BaseModel):
    """A kind of problem, and what to do about it."""

    code: str
    status: int
    title: str
    advice: str


@router.get("/", responses=documented())
def index(settings: SettingsDep) -> Index:
    """Where everything is."""
    paths = {
        "docs": "/docs",
        "openapi": "/openapi.json",
        "jobs": "/v1/jobs",
        "families": "/v1/families",
        "exports": "/v1/exports",
        "job_schema": "/v1/schema/job.json",
        "health": "/healthz",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }
    links = {name: f"{settings.public_url}{path}" for name, path in paths.items()}
    return Index(version=lrtuner.__version__, links=links)


@router.get("/healthz", responses=documented())
def show_health() -> Health:
    """Whether the process answers; it does not look at the database."""
    return Health()


@router.get("/readyz", responses=documented(503))
def show_readiness(storage: StorageDep) -> Readiness:
    """Whether jobs can be taken: the database answers and has the schema that this needs."""
    newer = storage.check() is Level.NEWER
    return Readiness(database=storage.kind, migrations="newer" if newer else "current")


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented()},
)
def show_metrics(request: Request) -> Response:
    """Requests, jobs by status and the age of the queue, as Prometheus reads them.

    Each process counts its own requests; what is read from the database is the same in all.
    """
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/problems/{code}", responses=documented(404))
def explain_problem(code: str) -> ProblemKind:
    """What a kind of problem means: the page that `type` of every problem points to."""
    if code not in KINDS:
        raise NotFoundError(f"There is no problem of that code; there are {', '.join(KINDS)}.")
    kind: Any = KINDS[code]
    return ProblemKind(code=code, status=kind.status, title=kind.title, advice=kind.advice)
