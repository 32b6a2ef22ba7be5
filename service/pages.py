"""Pages of lists, and times as they are written in them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel, Field

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items of a list, and how to get those that follow."""

    items: list[Item]
    has_more: bool = Field(description="Whether more items follow.")
    next_after: str | None = Field(
        description="Pass it as `after` to get the next page; null on the last one."
    )


def page_of(
    request: Request, response: Response, items: Sequence[Item], next_after: str | None
) -> Page[Item]:
    """The page, with a `Link` to the next one in the headers of `response`."""
    if next_after is not None:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k != "after"]
        query = urlencode([*kept, ("after", next_after)])
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return Page(items=list(items), has_more=next_after is not None, next_after=next_after)


def utc(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC with milliseconds: `2031-07-09T12:34:56.789Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_or_none(seconds: float | None) -> str | None:
    """The same for a time that may not have come."""
    return None if seconds is None else utc(seconds)
