"""A user's own code: as the API shows it, and whether a job may train it."""

from typing import Any

from pydantic import BaseModel, Field

from lrtuner.job import JobSpec
from lrtuner.sources import Code, Entrypoint
from lrtuner.sources.code import allowed
from lrtuner.store.uploads import CODE, CodeRow
from service.pages import utc
from service.problem import ProblemError, field_problem
from service.settings import Settings

_OPERATOR = "the operator has to set {} for the API and the workers"
_NO_CODE = "uploaded code is turned off here: " + _OPERATOR.format("LRTUNER_CODE=1")
_HOW = "POST a zip file to /v1/code, or `lrtuner submit JOB.json --code FOLDER` does all of it"


class ProjectLinks(BaseModel):
    """Where the project is."""

    self: str


class Project(BaseModel):
    """An uploaded project of code."""

    id: str = Field(description="`sha256:` and the hash of the zip file.")
    filename: str | None = Field(description="As the sender calls it; never used as a path.")
    num_bytes: int = Field(description="Of the zip file.")
    num_files: int
    unpacked_bytes: int
    uploaded_at: str
    links: ProjectLinks


class ProjectFile(BaseModel):
    """A file of a project."""

    path: str = Field(description="From the top of the project, with forward slashes.")
    num_bytes: int


class ProjectDetails(Project):
    """An uploaded project of code, and what is in it."""

    files: list[ProjectFile] = Field(description="By path.")


def project_resource(row: CodeRow, public_url: str) -> Project:
    """The project as lists show it."""
    return Project(
        id=row.id,
        filename=row.filename,
        num_bytes=row.num_bytes,
        num_files=row.num_files,
        unpacked_bytes=row.unpacked_bytes,
        uploaded_at=utc(row.uploaded_at),
        links=ProjectLinks(self=f"{public_url}/v1/code/{row.id}"),
    )


def project_details(row: CodeRow, files: list[tuple[str, int]], public_url: str) -> ProjectDetails:
    """The project with its files."""
    return ProjectDetails(
        **project_resource(row, public_url).model_dump(),
        files=[ProjectFile(path=path, num_bytes=num_bytes) for path, num_bytes in files],
    )


def require_code(settings: Settings) -> None:
    """Refuse an upload of code where the operator does not want any.

    Raises:
        ProblemError: it is turned off.
    """
    if not settings.code:
        raise ProblemError("turned_off", f"U{_NO_CODE[1:]}.")


def check_code(
    connection: Any, spec: JobSpec, settings: Settings, *, team: str | None = None
) -> None:
    """Refuse a job whose model is code that it may not train.

    For a team there is only what it has uploaded. An uploaded project cannot be deleted before the
    end of the transaction, and after it the job uses it.

    Raises:
        ProblemError: code or this entry point is turned off, or there is no such project.
    """
    if isinstance(spec.model, Code):
        if not settings.code:
            raise field_problem("turned_off", "model.source", _NO_CODE)
        _check_project(connection, spec.model.id, team)
    if isinstance(spec.model, Entrypoint) and not allowed(spec.model.target, settings.entrypoints):
        raise field_problem(
            "turned_off",
            "model.target",
            f"{spec.model.target} is not allowed here: {_OPERATOR.format('LRTUNER_ENTRYPOINTS')}",
        )


def _check_project(connection: Any, code_id: str | None, team: str | None) -> None:
    if code_id is None:
        raise field_problem("invalid_input", "model.id", f"missing; {_HOW}")
    if CODE.find(connection, code_id, team=team, hold=True) is None:
        told = f"there is no code {code_id}; {_HOW}"
        raise field_problem("invalid_input", "model.id", told)
