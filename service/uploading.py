"""What uploads of every kind have in common: how they arrive and are kept, once per content."""

import base64
import binascii
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Path as PathParameter
from fastapi import Request
from pydantic import Field, field_validator

from lrtuner.errors import ConflictError
from lrtuner.job import Text
from lrtuner.store.uploads import UploadRow, Uploads
from service.dependencies import Parameters, number_after, parameter_error
from service.incoming import Incoming, received
from service.problem import ProblemError
from service.storage import Storage

Row = TypeVar("Row", bound=UploadRow)

UploadId = Annotated[
    str,
    PathParameter(pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:" + "0123456789abcdef" * 4]),
]

_SHA256_FIELD = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):")


class Sent(Parameters):
    """What is sent."""

    filename: Annotated[
        Text | None, Field(description="What the sender calls it: a name, not a path.")
    ] = None
    sha256: Annotated[
        str | None,
        Field(pattern=r"^[0-9a-f]{64}$", description="What is sent must have this SHA-256."),
    ] = None

    @field_validator("filename")
    @classmethod
    def _name_is_no_path(cls, name: str | None) -> str | None:
        if name is not None and (set("/\\:") & set(name) or name.strip(". ") == ""):
            raise parameter_error("filename", "it must be a name without folders")
        return name


class UploadList(Parameters):
    """Which part of the list."""

    after: Annotated[str | None, Field(description="`next_after` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


def raw_body(description: str, media_type: str) -> dict[str, Any]:
    """What a route declares whose body is a file."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    digest = {
        "name": "Content-Digest",
        "in": "header",
        "required": False,
        "description": "`sha-256=:BASE64:` (RFC 9530): what is sent must have this SHA-256.",
        "schema": {"type": "string"},
    }
    body = {"required": True, "description": description, "content": {media_type: binary}}
    return {"requestBody": body, "parameters": [digest]}


ARRIVED: dict[str, Any] = {
    "description": "It is there now.",
    "headers": {"Location": {"description": "Where.", "schema": {"type": "string"}}},
}


@asynccontextmanager
async def arriving(request: Request, sent: Sent, folder: Path) -> AsyncIterator[Incoming]:
    """The body of the request in a file in `folder`, once all that was promised has arrived.

    Raises:
        ProblemError: it is not the file itself, or another than was promised.
    """
    _check_headers(request)
    promised = _promised(request, sent)
    async with received(request, folder) as incoming:
        if promised not in (None, incoming.sha256):
            found = f"what arrived has the SHA-256 {incoming.sha256.hex()}"
            raise _invalid("sha256", f"{found}, not the promised one: send it again")
        yield incoming


def keep(
    storage: Storage,
    uploads: Uploads[Row],
    incoming: Incoming,
    path: Path,
    *,
    team: str | None,
    filename: str | None,
    **values: Any,
) -> Row:
    """Keep what arrived, at `path` and in the database; `values` are the columns of its kind."""
    sender = {"team": team, "filename": filename}
    try:
        with storage.writing() as connection:
            uploads.add(connection, incoming.id, num_bytes=incoming.num_bytes, **sender, **values)
            incoming.keep_as(path)
            return uploads.get(connection, incoming.id, team=team)
    except ConflictError:  # the same content came twice at once
        return share(storage, uploads, incoming, **sender)[0]


def share(
    storage: Storage,
    uploads: Uploads[Row],
    incoming: Incoming,
    *,
    team: str | None,
    filename: str | None,
) -> tuple[Row, bool]:
    """Let the sender have what is there already; the upload, and whether that is new for it."""
    with storage.writing() as connection:
        is_new = uploads.share(connection, incoming.id, team=team, filename=filename)
        return uploads.get(connection, incoming.id, team=team), is_new and team is not None


def listed(
    storage: Storage, uploads: Uploads[Row], wanted: UploadList, team: str | None
) -> tuple[list[Row], str | None]:
    """A page of uploads, and the cursor behind it."""
    before = number_after(wanted.after, first=0) or None
    with storage.reading() as connection:
        rows = uploads.page(connection, team=team, before=before, limit=wanted.limit + 1)
    shown = rows[: wanted.limit]
    return shown, str(shown[-1].seq) if len(rows) > wanted.limit else None


def _check_headers(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError("unsupported_media_type", "Compressed bodies are not supported.")
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise ProblemError(
            "unsupported_media_type",
            "Forms are not supported: send the file itself as the body (curl --data-binary @FILE).",
        )


def _promised(request: Request, sent: Sent) -> bytes | None:
    """The SHA-256 that the sender promises, by parameter or header."""
    header = request.headers.get("content-digest")
    found = bytes.fromhex(sent.sha256) if sent.sha256 else None
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
