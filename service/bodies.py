"""JSON bodies: read strictly, validated, and refused with the field and the reason.

The framework's own reader takes NaN, repeated names and any depth. Here a body is one JSON object
in UTF-8 that every other reader, and every database, understands in the same way.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from service.explain import MAX_ENTRIES, Entry, body_problems, value_problem
from service.places import Parts
from service.problem import ProblemError
from service.wording import plain

MAX_DEPTH = 32
MAX_VALUES = 50_000
_SMALL_BYTES = 16_384
_TOLD = 3

_HIDDEN = "***"
_SECRET = re.compile(r"whsec_\S*")

Model = TypeVar("Model", bound=BaseModel)


def body_of(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """The dependency that reads a body of `model`."""

    async def read(request: Request) -> Model:
        _check_media_type(request)
        body = await request.body()
        if len(body) <= _SMALL_BYTES:
            return validated(model, parse(body))
        # In a thread: validating a large body takes long enough to keep others waiting.
        return await run_in_threadpool(lambda: validated(model, parse(body)))

    return read


def parse(body: bytes) -> Any:
    """The document in `body`.

    Raises:
        ProblemError: it is no JSON, nested too deeply, or has a name twice in one object.
    """
    try:
        document = json.loads(body.decode(), object_pairs_hook=_without_repetition)
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:  # the limit of int(), which guards against quadratic time
        raise _malformed("a number has thousands of digits") from None
    for count, (parts, _value) in enumerate(_walk(document)):
        if len(parts) > MAX_DEPTH:
            raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels")
        if count > MAX_VALUES:
            raise _malformed(f"it holds more than {MAX_VALUES} values")
    return document


def validated(model: type[Model], document: Any) -> Model:
    """The document as a `model`.

    Raises:
        ProblemError: it is not valid; `errors` says where and why.
    """
    strange = list(islice(_unstorable_text(document), MAX_ENTRIES))
    if strange:
        told = _without_secrets(document)
        rule = "text must not contain NUL characters or lone surrogates"
        raise _invalid([value_problem(parts, told, rule) for parts in strange])
    try:
        result = model.model_validate(document)
    except ValidationError as error:
        told = _without_secrets(document)
        raise _invalid(body_problems(model, told, error.errors(include_url=False))) from None
    # Parts of a model may be free-form; pydantic does not look into those.
    endless = list(islice(_unstorable_numbers(document), MAX_ENTRIES))
    if endless:
        raise _invalid(endless)
    return result


def _check_media_type(request: Request) -> None:
    essence = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = essence == "application/json" or (
        essence.startswith("application/") and essence.endswith("+json")
    )
    if not is_json:
        found = f"Content-Type is {plain(essence[:100])}" if essence else "There is no Content-Type"
        raise ProblemError("unsupported_media_type", f"{found}; it must be application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError("unsupported_media_type", "Compressed bodies are not supported.")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _malformed(f"the name {name[:100]!r} appears twice in one object")
        found[name] = value
    return found


def _walk(document: Any) -> Iterator[tuple[Parts, Any]]:
    """Every value below `document` with its path, `document` first; not recursive."""
    waiting: list[tuple[Parts, Any]] = [((), document)]
    while waiting:
        parts, value = waiting.pop()
        yield parts, value
        if isinstance(value, dict):
            waiting += [((*parts, key), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*parts, index), inner) for index, inner in enumerate(value)]


def _without_secrets(document: Any) -> Any:
    """The document as an answer may repeat it: errors end up in the logs of pipelines."""
    if isinstance(document, dict):
        return {
            key: _HIDDEN if key == "secret" else _without_secrets(value)
            for key, value in document.items()
        }
    if isinstance(document, list):
        return [_without_secrets(value) for value in document]
    return _SECRET.sub(_HIDDEN, document) if isinstance(document, str) else document


def _unstorable_text(document: Any) -> Iterator[Parts]:
    for parts, value in _walk(document):
        keys = value if isinstance(value, dict) else ()
        if any(map(_is_strange, keys)) or (isinstance(value, str) and _is_strange(value)):
            yield parts


def _unstorable_numbers(document: Any) -> Iterator[Entry]:
    for parts, value in _walk(document):
        if isinstance(value, float) and value - value != 0.0:  # NaN and infinity
            yield value_problem(parts, document, "it must be a finite number")
        elif isinstance(value, int) and abs(value) >= 2**63:
            yield value_problem(parts, document, "it must be a whole number of at most 64 bits")


def _is_strange(text: str) -> bool:
    return "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text)


def _malformed(reason: str) -> ProblemError:
    message = f"The body cannot be read: {reason}"
    entry = {"pointer": "", "field": "body", "message": message}
    return ProblemError("malformed_json", f"{message}.", errors=[entry])


def _invalid(entries: list[Entry]) -> ProblemError:
    detail = "; ".join(entry["message"] for entry in entries[:_TOLD])
    more = f"; and {len(entries) - _TOLD} more, see errors" if len(entries) > _TOLD else ""
    return ProblemError("invalid_input", f"{detail}{more}.", errors=entries)
