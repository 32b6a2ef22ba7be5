"""Datasets: upload, list, look at, delete."""

from pathlib import PurePosixPath
from typing import Annotated, Self

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, model_validator
from starlette.concurrency import run_in_threadpool

from lrtuner.datasets import SUFFIXES, Format
from lrtuner.datasets.folder import upload_path, uploads
from lrtuner.job import Text
from lrtuner.store.uploads import DATASETS, DatasetRow
from service.access import Granted
from service.datasets import Dataset, dataset_resource
from service.dependencies import SettingsDep, StorageDep, parameter_error
from service.incoming import Incoming
from service.inspecting import inspected, refused
from service.pages import Page, page_of
from service.problem import ProblemError, documented
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
from service.wording import one_of, plain

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])


class SentDataset(Sent):
    """What is sent."""

    format: Annotated[
        Format | None, Field(description="Needed unless the ending of `filename` tells it.")
    ] = None
    target: Annotated[
        Text | None, Field(description="The column of the targets; the last one if left out.")
    ] = None

    @property
    def kind(self) -> Format:
        """The format, told or from the ending of the name."""
        return self.format or SUFFIXES[self._suffix]

    @property
    def _suffix(self) -> str:
        return PurePosixPath(self.filename or "").suffix.lower()

    @model_validator(mode="after")
    def _format_is_known(self) -> Self:
        if self.format is None and self._suffix not in SUFFIXES:
            known = f"it must be {one_of(list(dict.fromkeys(SUFFIXES.values())))}"
            raise parameter_error("format", f"missing, and `filename` does not tell it; {known}")
        return self


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": Dataset, "description": "It was there already."},
        201: ARRIVED,
        **documented(409, 413, 415, 422, 503, 507),
    },
    openapi_extra=raw_body("The bytes of the file.", "application/octet-stream"),
)
async def upload_dataset(
    sent: Annotated[SentDataset, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Dataset:
    """Upload a dataset as the plain body. Its id is the hash of its content.

    It is inspected before it is kept, and refused with the place and the reason where it cannot be
    used. The same content again is answered with 200 and changes nothing. An upload that was cut
    short leaves nothing; ask for the id to see whether it arrived.
    """
    async with arriving(request, sent, uploads(settings.data_dir)) as incoming:
        if not incoming.num_bytes:
            raise refused("the file is empty")
        known = await run_in_threadpool(_known, storage, settings, sent, incoming)
        if known is not None:
            row, is_new = await run_in_threadpool(
                share, storage, DATASETS, incoming, team=granted.team, filename=sent.filename
            )
            response.status_code = 201 if is_new else 200
        else:
            told = await to_thread.run_sync(
                lambda: inspected(incoming.path, sent.kind, sent.target, settings),
                limiter=request.app.state.inspections,
            )
            path = upload_path(settings.data_dir, incoming.id, sent.kind)
            row = await run_in_threadpool(
                keep,
                storage,
                DATASETS,
                incoming,
                path,
                format=sent.kind,
                team=granted.team,
                filename=sent.filename,
                inspection=told.model_dump(mode="json"),
            )
    dataset = dataset_resource(row, settings.public_url)
    response.headers["Location"] = dataset.links.self
    return dataset


@router.get("", responses=documented(400, 422, 503))
def list_datasets(
    wanted: Annotated[UploadList, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Page[Dataset]:
    """List the uploads, newest first."""
    rows, after = listed(storage, DATASETS, wanted, granted.sees)
    items = [dataset_resource(row, settings.public_url) for row in rows]
    return page_of(request, response, items, after)


@router.get("/{dataset_id}", responses=documented(404, 503))
def show_dataset(
    dataset_id: UploadId, storage: StorageDep, settings: SettingsDep, granted: Granted
) -> Dataset:
    """Look at an upload: what it holds, as inspected when it arrived."""
    with storage.reading() as connection:
        row = DATASETS.get(connection, dataset_id, team=granted.sees)
    return dataset_resource(row, settings.public_url)


@router.head("/{dataset_id}", responses=documented(404, 503))
def has_dataset(dataset_id: UploadId, storage: StorageDep, granted: Granted) -> Response:
    """Whether a content is there, by its hash: ask before sending it."""
    with storage.reading() as connection:
        DATASETS.get(connection, dataset_id, team=granted.sees)
    return Response()


@router.delete("/{dataset_id}", status_code=204, responses=documented(404, 409, 503))
def delete_dataset(
    dataset_id: UploadId, storage: StorageDep, settings: SettingsDep, granted: Granted
) -> Response:
    """Delete an upload that no unfinished job uses."""
    with storage.writing() as connection:
        row = DATASETS.delete(connection, dataset_id, team=granted.sees)
        if row is not None:
            # Inside the transaction: the same content that arrives now waits for its end.
            upload_path(settings.data_dir, row.id, row.format).unlink(missing_ok=True)
    return Response(status_code=204)


def _known(
    storage: Storage, settings: Settings, sent: SentDataset, incoming: Incoming
) -> DatasetRow | None:
    """The same content as it was kept before; its file is put back where it was lost."""
    with storage.reading() as connection:
        row = DATASETS.find(connection, incoming.id)
    if row is None:
        return None
    if row.format != sent.kind or sent.target not in (None, row.inspection["target"]):
        read_as = f"as {row.format} with the target {plain(str(row.inspection['target']))}"
        raise ProblemError(
            "conflict",
            f"Dataset {incoming.id} is there already, read {read_as}. A job can name another "
            "target in dataset.args.target; for another format delete it first.",
        )
    path = upload_path(settings.data_dir, row.id, row.format)
    if not path.exists():
        incoming.keep_as(path)
    return row
