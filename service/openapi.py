"""The description of the API, for people (/docs) and programs (/openapi.json)."""

import json
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lrtuner.export import EXPORTERS
from lrtuner.job import JobSpec
from lrtuner.keys import Scope
from lrtuner.webhook import Receiver
from service.access import needed_scope
from service.problem import Problem, documented
from service.webhook import Message

EXAMPLE_JOB: dict[str, Any] = {
    "name": "digits-mlp",
    "model": {"source": "builtin", "name": "mlp", "args": {"hidden": [256, 256]}},
    "dataset": {"source": "builtin", "name": "digits", "args": {}},
    "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
    "training": {"batch_size": 64, "epochs": 20, "precision": "float32", "grad_clip_norm": None},
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "search": {
        "families": "all",
        "budget": {"full_runs": 30, "max_minutes": 30},
        "confirm_pairs": 5,
    },
    "baseline": None,
    "seed": 0,
    "metadata": {"commit": "abc123"},
    "webhook": None,
}

SMALLEST_JOB: dict[str, Any] = {
    "model": {"name": "mlp"},
    "dataset": {"name": "digits"},
    "optimizer": {"name": "sgd"},
    "training": {"batch_size": 64, "epochs": 20},
}

DESCRIPTION = """\
Which learning rate, which schedule, and how sure: submit a job, download its recommendation.

```sh
curl -i http://127.0.0.1:8470/v1/jobs -H 'Content-Type: application/json' -d '{
  "model": {"name": "mlp"}, "dataset": {"name": "digits"}, "optimizer": {"name": "sgd"},
  "training": {"batch_size": 64, "epochs": 20}}'      # 202, Location: /v1/jobs/job_...
curl http://127.0.0.1:8470/v1/jobs/job_...            # until "status" is "succeeded"
curl -OJ http://127.0.0.1:8470/v1/jobs/job_.../recommendation
```

**A job** is `queued`, `running`, then `succeeded`, `failed`, `expired` or, by way of `cancelling`,
`cancelled`. A worker that is lost does not change the status: another attempt goes on.

**Waiting**: `?wait=30` on the job answers at its next change, `Accept: text/event-stream` on its
events tells them as they happen, `Prefer: wait=30` on submit waits for the end of a short job.

**Again**: with an `Idempotency-Key` a submit can be repeated safely for a day. A job that asks what
was answered before is answered with that job (`X-Cache: hit`), unless `cache=false`.

**Errors** are `application/problem+json` (RFC 9457). Programs match on `code`, people read
`detail`, and `errors` points at each field with what was sent and what is allowed.

**Lists** come in pages: pass `next_after` as `after`, or follow `Link: <...>; rel="next"`.
Times are UTC. Unknown fields and parameters are refused.
"""

_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "lrt_ID_SECRET",
    "description": "An API key (`lrtuner keys create`). Which scope a call needs stands with it: "
    "`read`, `submit` or `code`; `admin` has all. No key is needed by a service that has none "
    "and listens on its own machine only, or that its operator has opened (LRTUNER_AUTH).",
}

_SCHEMAS = "#/components/schemas/"

_DATA = ("application/json", "application/yaml")

_ETAG = {
    "ETag": {"description": "SHA-256 of the content.", "schema": {"type": "string"}},
}
NOT_MODIFIED: dict[str, Any] = {
    "description": "You have it already (`If-None-Match`).",
    "headers": _ETAG,
}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_FILES = {
    # what a reader of that type finds in it
    media_type: {"schema": {"type": "object" if media_type in _DATA else "string"}}
    for media_type in sorted({exporter.media_type for exporter in EXPORTERS.values()})
}
_FILE_HEADERS = _ETAG | {
    "Content-Disposition": _text("A name to save it under."),
    "Repr-Digest": _text("SHA-256 of the whole file (RFC 9530)."),
    "Accept-Ranges": _text("`bytes`."),
}
DOWNLOAD: dict[str, Any] = {
    "description": "The file.",
    "content": _FILES,
    "headers": _FILE_HEADERS,
}
PART: dict[str, Any] = {
    "description": "The bytes that `Range` asks for.",
    "content": {media_type: {"schema": {"type": "string"}} for media_type in _FILES},
    "headers": _FILE_HEADERS | {"Content-Range": _text("Which bytes, of how many.")},
}
PICTURE: dict[str, Any] = {
    "description": "The picture.",
    "content": {"image/svg+xml": {"schema": {"type": "string"}}},
    "headers": _ETAG,
}
_SUBMITTED = {
    "Location": _text("Where the job is."),
    "X-Cache": _text("`hit`: the job was there, with its answer; `miss`: it is a new one."),
    "Idempotent-Replayed": _text("`true` where the same request came before."),
    "Preference-Applied": _text("`wait=N`, where that was preferred."),
}
ACCEPTED: dict[str, Any] = {
    "description": "The job is stored and will be run.",
    "headers": _SUBMITTED
    | {
        "Retry-After": {
            "description": "Seconds until it is worth looking.",
            "schema": {"type": "integer"},
        },
    },
}
ANSWERED: dict[str, Any] = {
    "description": "The job has finished: the same question was answered before (`X-Cache: hit`), "
    "or it ended within the seconds of `Prefer: wait=N`.",
    "headers": _SUBMITTED,
}
EVENTS: dict[str, Any] = {
    "description": "A page of events, or events as they happen.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
NO_MORE_EVENTS: dict[str, Any] = {
    "description": "Of a stream: the job has finished, and there is no event above "
    "`Last-Event-ID`. Browsers stop here.",
}

_MESSAGE: dict[str, Any] = {
    "summary": "What a job's webhook is told",
    "description": "Signed as Standard Webhooks defines it, and sent again, under the same "
    "`webhook-id`, until it is answered with 2xx.",
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ],
    "requestBody": {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Message"}}}
    },
    "responses": {"2XX": {"description": "Delivered."}, "410": {"description": "Not again."}},
}

JOB_EXAMPLES = {"smallest": SMALLEST_JOB, "every_field": EXAMPLE_JOB}


def request_body(model: type[BaseModel], examples: dict[str, Any]) -> dict[str, Any]:
    """What a route declares that reads its body with `bodies.body_of(model)`."""
    content = {
        "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
        "examples": {name: {"value": example} for name, example in examples.items()},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def deep_object(name: str, description: str) -> dict[str, Any]:
    """What a route declares that takes parameters `name[KEY]=VALUE`."""
    parameter = {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "style": "deepObject",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    return {"parameters": [parameter]}


LABELS = deep_object("metadata", "Labels that a job must carry.")


def describer(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """The function that describes `app`, once."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    return describe


def _described(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, own = models_json_schema(
        [
            (JobSpec, "validation"),
            (Receiver, "validation"),
            (Problem, "validation"),
            (Message, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas |= _beside(schemas, own["$defs"])
    _name_inner_unions(schemas, "JobSpec")
    schemas["Job"]["properties"]["spec"] = {"$ref": "#/components/schemas/JobSpec"}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["webhooks"] = {"job": {"post": _MESSAGE}}
    document["components"]["securitySchemes"] = {"api_key": _SCHEME}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _without_framework_errors(operation["responses"])
            _with_access(operation, needed_scope(method, path))
    return document


def _beside(schemas: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` with names that do not take those of other schemas away: `RangeTestInput`."""
    text = json.dumps(own)
    taken = [name for name, schema in own.items() if schemas.get(name, schema) != schema]
    for name in taken:
        text = text.replace(f'{_SCHEMAS}{name}"', f'{_SCHEMAS}{name}Input"')
    renamed = {f"{name}Input" if name in taken else name: name for name in own}
    found = json.loads(text)
    return {new: found[name] for new, name in renamed.items()}


def _name_inner_unions(schemas: dict[str, Any], model: str) -> None:
    """Give a union within a union a name: what a discriminator maps to has to be a reference."""
    for field, schema in schemas[model]["properties"].items():
        mapping = schema.get("discriminator", {}).get("mapping", {})
        for tag, inner in mapping.items():
            if isinstance(inner, str):
                continue
            name = f"{tag}_{field}".title().replace("_", "")
            schemas[name] = inner
            mapping[tag] = f"#/components/schemas/{name}"
            schema["oneOf"][schema["oneOf"].index(inner)] = {"$ref": mapping[tag]}


def _with_access(operation: dict[str, Any], scope: Scope | None) -> None:
    """Say which scope is needed, and what happens without."""
    if scope is None:
        return
    operation["security"] = [{"api_key": [scope.value]}]
    added = {str(status): told for status, told in documented(401, 403, 503).items()}
    operation["responses"] = dict(sorted({**added, **operation["responses"]}.items()))


def _without_framework_errors(responses: dict[str, Any]) -> None:
    """Drop the 422 that the framework adds to routes with an id, where such an id is a 404."""
    content = responses.get("422", {}).get("content", {})
    if "application/json" in content:
        del responses["422"]
