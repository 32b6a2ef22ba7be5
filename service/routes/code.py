"""Users' own code: upload, list, look at, delete."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from lrtuner.projects import project_path
from lrtuner.projects.folder import projects
from lrtuner.store.uploads import CODE, CodeRow, files_of_code
from service.access import Granted
from service.code import Project, ProjectDetails, project_details, project_resource, require_code
from service.dependencies import SettingsDep, StorageDep
from service.incoming import Incoming
from service.inspecting import checked_code, refused_code
from service.pages import Page, page_of
from service.problem import documented
from service.settings import Settings
from service.storage import Storage
from service.uploading import (
    ARRIVED,
    Sent,
    UploadId,
    UploadList,
    arriving,
    keep,
    listed,
    raw_body,
    share,
)

router = APIRouter(prefix="/v1/code", tags=["code"])


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": Project, "description": "It was there already."},
        201: ARRIVED,
        **documented(403, 413, 415, 422, 503, 507),
    },
    openapi_extra=raw_body("The zip file, `lrtune.py` at its top.", "application/zip"),
)
async def upload_code(
    sent: Annotated[Sent, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Project:
    """Upload a project of code, a zip file, as the plain body. Its id is the hash of the file.

    It is checked before it is kept, and never run here: every entry must be a plain file with a
    plain name, the whole not too large, and `lrtune.py` must be Python. The same content again is
    answered with 200 and changes nothing. An upload that was cut short leaves nothing; ask for the
    id to see whether it arrived.
    """
    require_code(settings)
    async with arriving(request, sent, projects(settings.data_dir)) as incoming:
        if not incoming.num_bytes:
            raise refused_code("the file is empty")
        known = await run_in_threadpool(_known, storage, settings, incoming)
        if known is not None:
            row, is_new = await run_in_threadpool(
                share, storage, CODE, incoming, team=granted.team, filename=sent.filename
            )
            response.status_code = 201 if is_new else 200
        else:
            files = await to_thread.run_sync(
                lambda: checked_code(incoming.path), limiter=request.app.state.inspections
            )
            row = await run_in_threadpool(
                keep,
                storage,
                CODE,
                incoming,
                project_path(settings.data_dir, incoming.id),
                team=granted.team,
                filename=sent.filename,
                num_files=len(files),
                unpacked_bytes=sum(file.num_bytes for file in files),
                files=files,
            )
    project = project_resource(row, settings.public_url)
    response.headers["Location"] = project.links.self
    return project


@router.get("", responses=documented(400, 422, 503))
def list_code(
    wanted: Annotated[UploadList, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Page[Project]:
    """List the projects, newest first."""
    rows, after = listed(storage, CODE, wanted, granted.sees)
    items = [project_resource(row, settings.public_url) for row in rows]
    return page_of(request, response, items, after)


@router.get("/{code_id}", responses=documented(404, 503))
def show_code(
    code_id: UploadId, storage: StorageDep, settings: SettingsDep, granted: Granted
) -> ProjectDetails:
    """Look at a project: its files and their sizes."""
    with storage.reading() as connection:
        row = CODE.get(connection, code_id, team=granted.sees)
        files = files_of_code(connection, code_id)
    return project_details(row, files, settings.public_url)


@router.head("/{code_id}", responses=documented(404, 503))
def has_code(code_id: UploadId, storage: StorageDep, granted: Granted) -> Response:
    """Whether a project is there, by its hash: ask before sending it."""
    with storage.reading() as connection:
        CODE.get(connection, code_id, team=granted.sees)
    return Response()


@router.delete("/{code_id}", status_code=204, responses=documented(404, 409, 503))
def delete_code(
    code_id: UploadId, storage: StorageDep, settings: SettingsDep, granted: Granted
) -> Response:
    """Delete a project that no unfinished job uses."""
    with storage.writing() as connection:
        if CODE.delete(connection, code_id, team=granted.sees) is not None:
            # Inside the transaction: the same content that arrives now waits for its end.
            project_path(settings.data_dir, code_id).unlink(missing_ok=True)
    return Response(status_code=204)


def _known(storage: Storage, settings: Settings, incoming: Incoming) -> CodeRow | None:
    """The same content as it was kept before; its file is put back where it was lost."""
    with storage.reading() as connection:
        row = CODE.find(connection, incoming.id)
    path = project_path(settings.data_dir, incoming.id)
    if row is not None and not path.exists():
        incoming.keep_as(path)
    return row
