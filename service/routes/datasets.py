"""Datasets: upload, list, look at, delete."""

import base64
import binascii
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field, model_validator
from starlette.concurrency import run_in_threadpool

from lrtuner.datasets import SUFFIXES, Format
from lrtuner.datasets.folder import upload_path, uploads
from lrtuner.errors import ConflictError
from lrtuner.job import Text
from lrtuner.store import datasets as stored
from lrtuner.store.datasets import DatasetRow
from service.datasets import Dataset, dataset_resource
from service.dependencies import (
    Parameters,
    SettingsDep,
    StorageDep,
    number_after,
    parameter_error,
)
from service.incoming import Incoming, received
from service.inspecting import inspected, refused
from service.pages import Page, page_of
from service.problem import ProblemError, documented
from service.settings import Settings
from service.storage import Storage
from service.wording import one_of, plain

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

DatasetId = Annotated[
    str, Path(pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:" + "0123456789abcdef" * 4])
]

_SHA256_FIELD = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):")


class UploadParameters(Parameters):
    """What is sent."""

    format: Annotated[
        Format | None, Field(description="Needed unless the ending of `filename` tells it.")
    ] = None
    filename: Annotated[
        Text | None, Field(description="What the sender calls it: a name, not a path.")
    ] = None
    sha256: Annotated[
        str | None,
        Field(pattern=r"^[0-9a-f]{64}$", description="What is sent must have this SHA-256."),
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
    def _name_is_no_path(self) -> Self:
        name = self.filename
        if name is not None and (set("/\\:") & set(name) or name.strip(". ") == ""):
            raise parameter_error("filename", "it must be a name without folders")
        return self

    @model_validator(mode="after")
    def _format_is_known(self) -> Self:
        if self.format is None and self._suffix not in SUFFIXES:
            known = f"it must be {one_of(list(dict.fromkeys(SUFFIXES.values())))}"
            raise parameter_error("format", f"missing, and `filename` does not tell it; {known}")
        return self


class DatasetList(Parameters):
    """Which part of the list."""

    after: Annotated[str | None, Field(description="`next_after` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of the file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [
        {
            "name": "Content-Digest",
            "in": "header",
            "required": False,
            "description": "`sha-256=:BASE64:` (RFC 9530): what is sent must have this SHA-256.",
            "schema": {"type": "string"},
        }
    ],
}


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": Dataset, "description": "It was there already."},
        201: {
            "description": "It is there now.",
            "headers": {"Location": {"description": "Where.", "schema": {"type": "string"}}},
        },
        **documented(409, 413, 415, 422, 503, 507),
    },
    openapi_extra=_BODY,
)
async def upload_dataset(
    wanted: Annotated[UploadParameters, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
) -> Dataset:
    """Upload a dataset as the plain body. Its id is the hash of its content.

    It is inspected before it is kept, and refused with the place and the reason where it cannot be
    used. The same content again is answered with 200 and changes nothing. An upload that was cut
    short leaves nothing; ask for the id to see whether it arrived.
    """
    _check_headers(request)
    promised = _promised(request, wanted)
    async with received(request, uploads(settings.data_dir)) as incoming:
        if not incoming.num_bytes:
            raise refused("the file is empty")
        if promised not in (None, incoming.sha256):
            found = f"what arrived has the SHA-256 {incoming.sha256.hex()}"
            raise _invalid("sha256", f"{found}, not the promised one: send it again")
        dataset_id = f"sha256:{incoming.sha256.hex()}"
        row = await run_in_threadpool(_known, storage, settings, dataset_id, wanted, incoming)
        if row is not None:
            response.status_code = 200
        else:
            told = await to_thread.run_sync(
                lambda: inspected(incoming.path, wanted.kind, wanted.target, settings),
                limiter=request.app.state.inspections,
            )
            row = await run_in_threadpool(
                _kept, storage, settings, dataset_id, wanted, incoming, told.model_dump(mode="json")
            )
    dataset = dataset_resource(row, settings.public_url)
    response.headers["Location"] = dataset.links.self
    return dataset


@router.get("", responses=documented(400, 422, 503))
def list_datasets(
    wanted: Annotated[DatasetList, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
) -> Page[Dataset]:
    """List the uploads, newest first."""
    before = number_after(wanted.after, first=0) or None
    with storage.reading() as connection:
        rows = stored.list_datasets(connection, before=before, limit=wanted.limit + 1)
    shown = rows[: wanted.limit]
    after = str(shown[-1].seq) if len(rows) > wanted.limit else None
    return page_of(
        request, response, [dataset_resource(row, settings.public_url) for row in shown], after
    )


@router.get("/{dataset_id}", responses=documented(404, 503))
def show_dataset(dataset_id: DatasetId, storage: StorageDep, settings: SettingsDep) -> Dataset:
    """Look at an upload: what it holds, as inspected when it arrived."""
    with storage.reading() as connection:
        row = stored.get_dataset(connection, dataset_id)
    return dataset_resource(row, settings.public_url)


@router.head("/{dataset_id}", responses=documented(404, 503))
def has_dataset(dataset_id: DatasetId, storage: StorageDep) -> Response:
    """Whether a content is there, by its hash: ask before sending it."""
    with storage.reading() as connection:
        stored.get_dataset(connection, dataset_id)
    return Response()


@router.delete("/{dataset_id}", status_code=204, responses=documented(404, 409, 503))
def delete_dataset(dataset_id: DatasetId, storage: StorageDep, settings: SettingsDep) -> Response:
    """Delete an upload that no unfinished job uses."""
    with storage.writing() as connection:
        row = stored.delete_dataset(connection, dataset_id)
        # Inside the transaction: the same content that arrives now waits for its end.
        upload_path(settings.data_dir, row.id, row.format).unlink(missing_ok=True)
    return Response(status_code=204)


def _known(
    storage: Storage,
    settings: Settings,
    dataset_id: str,
    wanted: UploadParameters,
    incoming: Incoming,
) -> DatasetRow | None:
    """The same content as it was kept before; its file is put back where it was lost."""
    with storage.reading() as connection:
        row = stored.find_dataset(connection, dataset_id)
    if row is None:
        return None
    if row.format != wanted.kind or wanted.target not in (None, row.inspection["target"]):
        read_as = f"as {row.format} with the target {plain(str(row.inspection['target']))}"
        raise ProblemError(
            "conflict",
            f"Dataset {dataset_id} is there already, read {read_as}. A job can name another "
            "target in dataset.args.target; for another format delete it first.",
        )
    path = upload_path(settings.data_dir, row.id, row.format)
    if not path.exists():
        incoming.keep_as(path)
    return row


def _kept(
    storage: Storage,
    settings: Settings,
    dataset_id: str,
    wanted: UploadParameters,
    incoming: Incoming,
    inspection: dict[str, Any],
) -> DatasetRow:
    try:
        with storage.writing() as connection:
            stored.add_dataset(
                connection,
                dataset_id=dataset_id,
                format=wanted.kind,
                filename=wanted.filename,
                num_bytes=incoming.num_bytes,
                inspection=inspection,
            )
            incoming.keep_as(upload_path(settings.data_dir, dataset_id, wanted.kind))
            return stored.get_dataset(connection, dataset_id)
    except ConflictError:  # the same content came twice at once
        with storage.reading() as connection:
            return stored.get_dataset(connection, dataset_id)


def _check_headers(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError("unsupported_media_type", "Compressed bodies are not supported.")
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise ProblemError(
            "unsupported_media_type",
            "Forms are not supported: send the file itself as the body (curl --data-binary @FILE).",
        )


def _promised(request: Request, wanted: UploadParameters) -> bytes | None:
    """The SHA-256 that the sender promises, by parameter or header."""
    header = request.headers.get("content-digest")
    found = bytes.fromhex(wanted.sha256) if wanted.sha256 else None
    if header is None:
        return found
    match = _SHA256_FIELD.search(header)
    try:
        digest = base64.b64decode(match[1], validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise _invalid("Content-Digest", "it must be sha-256=:BASE64: of 32 bytes")
    if found not in (None, digest):
        raise _invalid("sha256", "it is not what Content-Digest says")
    return digest


def _invalid(field: str, reason: str) -> ProblemError:
    entry = {"pointer": None, "field": field, "message": f"{field}: {reason}"}
    return ProblemError("invalid_input", f"{field}: {reason}.", errors=[entry])
