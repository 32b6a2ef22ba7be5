"""Validators of content: a strong ETag, 304 for who has it already, and parts of it."""

import base64
import hashlib
from collections.abc import Mapping

from fastapi import Request, Response

from service.headers import byte_range
from service.problem import ProblemError


def conditional(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str]
) -> Response:
    """The content with its ETag, the SHA-256 of its bytes; 304 without it if the client has it."""
    checksum = hashlib.sha256(content)
    etag = f'"{checksum.hexdigest()}"'
    validators = {**headers, "ETag": etag}
    if _has(request.headers.get("if-none-match", ""), etag):
        kept = {"etag", "cache-control", "vary", "content-location"}
        return Response(
            status_code=304, headers={k: v for k, v in validators.items() if k.lower() in kept}
        )
    encoded = base64.b64encode(checksum.digest()).decode()
    validators["Repr-Digest"] = f"sha-256=:{encoded}:"  # RFC 9530
    return Response(content, headers=validators, media_type=media_type)


def download(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str]
) -> Response:
    """The same, or the part of it that `Range` asks for, if `If-Range` names this content.

    Raises:
        ProblemError: there are no such bytes.
    """
    whole = conditional(request, content, media_type, {**headers, "Accept-Ranges": "bytes"})
    wanted = byte_range(request.headers.get("range", ""), len(content))
    unchanged = request.headers.get("if-range", whole.headers["ETag"]) == whole.headers["ETag"]
    if wanted is None or not unchanged or whole.status_code != 200 or request.method != "GET":
        return whole
    if not wanted:
        told = f"There are {len(content)} bytes."
        size = {"Content-Range": f"bytes */{len(content)}"}
        raise ProblemError("range_not_satisfiable", told, headers=size)
    part = content[wanted.start : wanted.stop]
    named = {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{len(content)}"}
    kept = {k: v for k, v in whole.headers.items() if k.lower() != "content-length"}
    return Response(part, 206, kept | named)


def _has(if_none_match: str, etag: str) -> bool:
    # A proxy that compresses may have made the validator weak: W/"..." names the same content.
    known = (entry.strip().removeprefix("W/") for entry in if_none_match.split(","))
    return if_none_match.strip() == "*" or etag in known
