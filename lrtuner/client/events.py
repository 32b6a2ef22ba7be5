"""Server-sent events as far as the service uses them, and following a job by them."""

import json
from collections.abc import Iterable, Iterator

from lrtuner.client.answers import Event

FINISHED = "job.finished"


def blocks(pieces: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """The blocks of a stream, each by its fields; comments are blocks without any.

    A block that was cut off is left out.
    """
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        yield from map(_fields, whole)


def event_of(block: dict[str, str]) -> Event | None:
    """The job's event in a block; None for what is not numbered.

    Raises:
        ValueError: it is not one of this API.
    """
    if "id" not in block:
        return None
    return Event.model_validate(json.loads(block["data"]))


def _fields(block: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in block.decode(errors="replace").split("\n"))
    return {name: value.removeprefix(" ") for name, _, value in lines if name}
