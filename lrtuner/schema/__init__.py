"""The JSON Schema (2020-12) of the schedule config, shipped as a file.

A file, because a version of the format is a promise: the schema of 1.0 may come to allow more, but
what was valid stays valid. `python -m lrtuner.schema` writes the file anew from the models, and a
test keeps the two together.
"""

import json
from importlib.resources import files
from typing import Any

from pydantic.json_schema import models_json_schema

from lrtuner.document import SCHEMA_NAME, ReactiveDocument, ScheduleDocument
from lrtuner.jsontext import dumps

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = f"{SCHEMA_NAME}.json"

_ABOUT = """\
A learning-rate schedule as lrtuner stores it. There are two kinds: `closed_form`, whose rates are \
a function of time (also where `kind` is left out), and `reactive`, whose rate reacts to a metric. \
Lengths are absolute here. lrtuner.load also takes relative ones ("0.1dur"), a `preset` in the \
place of warmup, body and cooldown, and it fills in `start_factor`, `down` and the first of \
`factors`. Rules that a schema cannot express, and lrtuner.load checks: whole numbers are written \
without a point; `warmup.steps` is at most `total_steps`; a warmup with the curve `exponential` \
starts above 0 and below 1; a cooldown has a `power` if and only if its curve is `power`; \
`milestones` rise, and there is one more of `factors` than of them; `t_mult` is 1, or 1.01 and \
more; only the mode `exp_range` has a `gamma`; the checksum points are the schedule's rates, to \
1e-9 of the peak; and the content hash is that of the content."""


def schedule_schema() -> dict[str, Any]:
    """The schema of the schedule config, as it is shipped."""
    schema: dict[str, Any] = json.loads(files(__name__).joinpath(FILE).read_text(encoding="utf-8"))
    return schema


def generated() -> str:
    """The text that the shipped file should have, according to the models."""
    kinds = (ScheduleDocument, ReactiveDocument)
    _, models = models_json_schema([(kind, "validation") for kind in kinds])
    for model in models["$defs"].values():
        for name, field in model["properties"].items():
            field.setdefault("title", name.replace("_", " ").title())
    schema = {
        "$schema": DIALECT,
        "$id": f"urn:lrtuner:schema:{SCHEMA_NAME}",
        "title": "lrtuner schedule config 1.0",
        "description": _ABOUT,
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
        **models,
    }
    return dumps(schema, indent=2) + "\n"
