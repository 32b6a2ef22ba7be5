"""What processes log: one line for each thing that happened, as text or as JSON.

What a line is about (a job and its attempt, a request) is said once, by `about`, and stands in
every line that is logged within: before the message in text, as fields of their own in JSON.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal

from pythonjsonlogger.json import JsonFormatter

Style = Literal["text", "json"]

_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))

_TEXT = "%(asctime)s %(levelname)s %(name)s %(about)s%(message)s"


def configure(level: str = "info", style: Style = "text") -> None:
    """Log to stderr everything from that level on, in that style, and what libraries warn of."""
    handler = logging.StreamHandler()
    handler.addFilter(add_about)
    handler.setFormatter(_json() if style == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each look at the schema


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Within it every line of this thread or task says so of itself."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def add_about(record: logging.LogRecord) -> bool:
    """A filter of handlers: gives a record what it is about; lets every record through."""
    fields = _about.get()
    record.about = "".join(f"[{name}={value}] " for name, value in fields.items())
    record.__dict__.update({k: v for k, v in fields.items() if k not in record.__dict__})
    return True


def _json() -> logging.Formatter:
    """Names as most collectors of logs know them; the time is in UTC."""
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
        reserved_attrs=[*logging.makeLogRecord({}).__dict__, "about", "taskName", "color_message"],
        timestamp="time",
    )
