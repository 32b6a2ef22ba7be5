"""What an error looks like on the wire: RFC 9457 `application/problem+json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "lrtuner.request_id"
"""Where the ASGI scope keeps the request's id."""

RETRY_SECONDS = 5
_LONGEST_INSTANCE = 300


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its status, its title, and what the caller can do about it."""

    status: int
    title: str
    advice: str


_SERVER_FAULT = "A fault of the service: report it with the request_id; its log has the rest."

#: Every code that a response, or the error of a job, can carry. `type` is `/problems/CODE`.
KINDS: dict[str, Kind] = {
    "bad_request": Kind(400, "The request cannot be read", "Compare it with /openapi.json."),
    "malformed_json": Kind(
        400, "The body is not JSON", "Send one JSON object in UTF-8, without repeated names."
    ),
    "bad_cursor": Kind(
        400,
        "The cursor is not valid",
        "Pass `next_after` of the page before as `after`.",
    ),
    "unauthorized": Kind(
        401, "An API key is needed", "Send a valid one: `Authorization: Bearer lrt_...`."
    ),
    "missing_scope": Kind(
        403, "The API key may not do this", "The detail names the scope that the key needs."
    ),
    "turned_off": Kind(
        403,
        "The operator of this service has not turned this on",
        "The detail names the setting that does it.",
    ),
    "not_found": Kind(404, "There is no such thing", "Check the path and the id."),
    "method_not_allowed": Kind(
        405, "The method is not allowed here", "The Allow header lists the methods that are."
    ),
    "not_acceptable": Kind(
        406,
        "The requested media type is not available",
        "Ask for application/json; of the events of a job there is text/event-stream, too.",
    ),
    "conflict": Kind(
        409, "The current state does not allow this", "Look at the status of the job first."
    ),
    "not_ready": Kind(
        409, "The result is not there (yet)", "Poll the job until its status is `succeeded`."
    ),
    "lease_lost": Kind(409, "Another attempt owns the job", "Look at the job again."),
    "pruned": Kind(
        410, "The evidence was removed", "Submit the job again if you need it; keep the report."
    ),
    "body_too_large": Kind(
        413,
        "The body is too large",
        "Send less; the limit is the setting LRTUNER_MAX_BODY_BYTES, of uploads "
        "LRTUNER_MAX_UPLOAD_MB; of projects of code it is fixed.",
    ),
    "unsupported_media_type": Kind(
        415, "The body has the wrong media type", "Send `Content-Type: application/json`."
    ),
    "range_not_satisfiable": Kind(
        416, "The file has no such bytes", "Content-Range says how many there are."
    ),
    "idempotency_key_reused": Kind(
        422,
        "The Idempotency-Key stands for another request",
        "Send a new key with every new job, and the same key with the same body only.",
    ),
    "invalid_input": Kind(
        422, "The input is not valid", "`errors` names every field, its value and what is allowed."
    ),
    "invalid_schedule": Kind(
        422, "The schedule is not valid", "Download it again, or leave its checksum points out."
    ),
    "invalid_dataset": Kind(
        422, "The dataset is not valid", "`errors` says where in the file; correct it there."
    ),
    "invalid_code": Kind(
        422, "The project of code is not valid", "`errors` says which entry; correct it there."
    ),
    "horizon_mismatch": Kind(
        422, "The schedule is for another number of steps", "Rescale it, or change the training."
    ),
    "unsupported": Kind(422, "This is not supported", "The detail says what is."),
    "quota_exceeded": Kind(
        429,
        "The quota of the API key is used up",
        "Wait as long as Retry-After says and try again; the operator sets the quotas.",
    ),
    "internal": Kind(500, "The service failed", _SERVER_FAULT),
    "error": Kind(500, "The service failed", _SERVER_FAULT),
    "job_failed": Kind(500, "The job cannot go on", _SERVER_FAULT),
    "nothing_trained": Kind(
        500, "Every trial diverged or failed", "Look at the errors of the job's trials."
    ),
    "process_died": Kind(
        500, "The process that trains died again and again", "It may need more memory."
    ),
    "expired": Kind(500, "The deadline passed", "Give the job more time, or run more workers."),
    "max_attempts": Kind(
        500, "The workers of the job were lost too often", "The log of the workers has the rest."
    ),
    "internal_error": Kind(500, "The worker failed", _SERVER_FAULT),
    "database_down": Kind(
        503, "The database does not answer", "Wait as long as Retry-After says and try again."
    ),
    "database_full": Kind(
        503, "The disk of the database is full", "The operator has to make room; then try again."
    ),
    "storage_full": Kind(
        507, "There is no room for the upload", "The operator has to make room in the data folder."
    ),
    "not_migrated": Kind(
        503, "The database has another version's schema", "The operator has to migrate it."
    ),
}


class ProblemError(Exception):
    """A request that is answered with a problem; `code` is a key of `KINDS`."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers


def field_problem(code: str, field: str, reason: str) -> ProblemError:
    """The answer to a body of which one field, by its dotted name, is wrong."""
    message = f"{field}: {reason}"
    entry = {"pointer": "/" + field.replace(".", "/"), "field": field, "message": message}
    return ProblemError(code, f"{message}.", errors=[entry])


class FieldProblem(BaseModel):
    """One thing that is wrong with the input."""

    pointer: str | None = Field(
        description="JSON Pointer (RFC 6901) into the body that was sent; null for parameters."
    )
    field: str = Field(description="The dotted name of the field or parameter; empty for the body.")
    message: str = Field(description="One sentence with the field, its value and what is allowed.")
    value: Any = Field(default=None, description="What was sent, shortened; absent if nothing was.")
    allowed: dict[str, Any] | None = Field(
        default=None, description="The allowed range: ge, gt, le, lt, one_of, min_length, ..."
    )


class Problem(BaseModel):
    """Every error of this API (RFC 9457)."""

    type: str = Field(description="`/problems/CODE`, a page that explains the kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What is wrong with this request, for people.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The kind of problem, for programs; it never changes.")
    request_id: str = Field(description="Also in the header X-Request-Id and in the log.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="What is wrong with each field, or with the body as a whole."
    )


def problem_response(
    scope: Scope,
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response that tells of a problem with the request in `scope`."""
    kind = KINDS[code]
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": quote(scope.get("path", ""), errors="replace")[:_LONGEST_INSTANCE],
        "code": code,
        "request_id": scope.get(REQUEST_ID, ""),
    }
    if errors:
        body["errors"] = list(errors)
    headers = dict(headers or {})
    if kind.status == 503:
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    return JSONResponse(body, kind.status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route declares as its `responses`: the problems it can answer with."""
    return {status: _documented(status) for status in (*statuses, 500)}


def _documented(status: int) -> dict[str, Any]:
    codes = [code for code, kind in KINDS.items() if kind.status == status]
    described: dict[str, Any] = {
        "description": "Problem: " + ", ".join(f"`{code}`" for code in codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status == 401:
        described["headers"] = {
            "WWW-Authenticate": {
                "description": "`Bearer` (RFC 6750).",
                "schema": {"type": "string"},
            }
        }
    if status in (429, 503):
        described["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    return described
