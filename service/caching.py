"""Validators of content: a strong ETag, and 304 for who has it already."""

import base64
import hashlib
from collections.abc import Mapping

from fastapi import Request, Response


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


def _has(if_none_match: str, etag: str) -> bool:
    # A proxy that compresses may have made the validator weak: W/"..." names the same content.
    known = (entry.strip().removeprefix("W/") for entry in if_none_match.split(","))
    return if_none_match.strip() == "*" or etag in known
