"""From exceptions to problems: which code, which status."""

import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from lrtuner.errors import DatabaseDownError, DatabaseFullError, LRTunerError, QuotaError
from service.explain import parameter_problems
from service.problem import KINDS, ProblemError, problem_response
from service.routes import ROUTERS

_log = logging.getLogger(__name__)

_OUTAGES = {
    DatabaseDownError: "The database does not answer. What was asked may or may not have been "
    "done.",
    DatabaseFullError: "The disk of the database is full: nothing can be written, and nothing was.",
}

#: What the framework raises by itself has a status only.
_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable"}


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem; what nothing here knows ends in the middleware."""
    app.exception_handler(ProblemError)(_problem)
    app.exception_handler(LRTunerError)(_core_error)
    app.exception_handler(HTTPException)(_framework_error)
    app.exception_handler(RequestValidationError)(_bad_parameters)


def _problem(request: Request, error: ProblemError) -> Response:
    return problem_response(
        request.scope, error.code, error.detail, errors=error.errors, headers=error.headers
    )


def _core_error(request: Request, error: LRTunerError) -> Response:
    if isinstance(error, DatabaseDownError):
        # Its message holds the address of the database.
        _log.warning("%s", error)
        detail = _OUTAGES[type(error)]
        return problem_response(request.scope, error.code, detail)
    if isinstance(error, QuotaError):
        headers = {"Retry-After": str(math.ceil(error.retry_seconds))}
        return problem_response(request.scope, error.code, str(error), headers=headers)
    if KINDS[error.code].status >= 500:
        raise error  # not for strangers: the middleware logs it
    return problem_response(request.scope, error.code, str(error))


def _framework_error(request: Request, error: HTTPException) -> Response:
    code = _CODES.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
    details = {
        404: f"There is nothing at {request.url.path}; /openapi.json lists what there is.",
        405: f"{request.method} is not possible here.",
    }
    detail = details.get(error.status_code, HTTPStatus(error.status_code).phrase)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed_methods(request) or headers.get("Allow", "")
    return problem_response(request.scope, code, detail, headers=headers)


def _allowed_methods(request: Request) -> str:
    """All methods of the path; the framework names those of its first route only."""
    methods: set[str] = set()
    for route in (route for router in ROUTERS for route in router.routes):
        if isinstance(route, Route) and route.path_regex.match(request.url.path):
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


def _bad_parameters(request: Request, error: RequestValidationError) -> Response:
    problems = error.errors()
    if any(problem["loc"][0] == "path" for problem in problems):
        # An id that cannot be one is an id that nothing has.
        return problem_response(request.scope, "not_found", "No id has this form.")
    entries = parameter_problems(problems)
    detail = " ".join(f"{entry['message']}." for entry in entries)
    return problem_response(request.scope, "invalid_input", detail, errors=entries)
