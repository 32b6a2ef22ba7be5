"""Request headers that consist of parts: what a client asks for beside the thing itself."""

import re
from collections.abc import Iterator

LONGEST_WAIT = 60
"""Seconds for which a request may be held."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def preferred_wait(prefer: str) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240), at most 60; None without one that makes sense."""
    for name, value in _parts(prefer):
        if name == "wait" and re.fullmatch(r"[0-9]{1,9}", value):
            return min(int(value), LONGEST_WAIT)
    return None


def asks_anew(cache_control: str) -> bool:
    """Whether `Cache-Control` forbids an answer that is there already."""
    return any(name in ("no-cache", "no-store") for name, _ in _parts(cache_control))


def accepted(accept: str, media_types: tuple[str, ...]) -> str | None:
    """The first of the media types that `Accept` names; else the first that it lets pass.

    Weights other than 0 are not compared: what is named is wanted. None if nothing fits.
    """
    ranges = _media_ranges(accept) if accept.strip() else ["*/*"]
    for wildcards in (False, True):
        for media_type in media_types:
            fitting = (f"{media_type.partition('/')[0]}/*", "*/*") if wildcards else (media_type,)
            if any(entry in ranges for entry in fitting):
                return media_type
    return None


def byte_range(text: str, size: int) -> range | None:
    """The bytes of `size` that a `Range` asks for, empty if there are none; None to send them all.

    Several ranges at once, and what cannot be understood, are ignored, as RFC 9110 allows.
    """
    match = _RANGE.fullmatch(text.strip().lower())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    first = int(match[1])
    last = int(match[2]) if match[2] else max(first, size)
    if last < first:
        return None
    return range(min(first, size), min(last + 1, size))


def _media_ranges(accept: str) -> list[str]:
    entries = (entry.partition(";") for entry in accept.lower().split(","))
    refused = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")
    return [
        name.strip()
        for name, _, parameters in entries
        if not any(refused.fullmatch(each) for each in parameters.split(";"))
    ]


def _parts(header: str) -> Iterator[tuple[str, str]]:
    """The entries of a list of `name` or `name=value`, without their own parameters."""
    for entry in header.split(","):
        name, _, value = entry.partition(";")[0].partition("=")
        yield name.strip().lower(), value.strip().strip('"')
