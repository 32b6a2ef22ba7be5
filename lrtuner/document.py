"""The schedule config as stored and downloaded (version 1.0): a schedule and its provenance.

Two kinds: `closed_form`, whose rates are a function of time, and `reactive`, whose rate reacts to a
metric.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import Field, ValidationError

from lrtuner.errors import InvalidScheduleError, UnsupportedError
from lrtuner.jsontext import digest, dumps
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.plateau import Plateau
from lrtuner.strict import Strict

SCHEMA_NAME = "schedule-1.0"

CHECKSUM_TOLERANCE = 1e-9
"""Allowed difference at a checksum point, as a share of the peak: rounding between platforms."""

_YAML = (".yaml", ".yml")
_NOT_HASHED = ("job_id", "created_at", "content_hash")


class OptimizerRef(Strict):
    """The optimizer the schedule was tuned for: its name and its arguments but the rate."""

    name: str
    args: Annotated[dict[str, Any], Field(default_factory=dict)]


class Context(Strict):
    """How steps came about when the schedule was tuned, so that a loader can verify them."""

    steps_per_epoch: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)]
    grad_accum: Annotated[int, Field(ge=1)] = 1
    world_size: Annotated[int, Field(ge=1)] = 1


class Verdict(Strict):
    """How sure the recommendation is: paired runs on fresh seeds against a tuned baseline.

    `difference` is recommended minus baseline in the metric's unit, with its 95 % interval;
    `p_value` is from the exact one-sided sign-flip test over `pairs` seeds. `confirmed` needs at
    least 5 pairs and an interval that excludes zero on the better side.
    """

    status: Literal["confirmed", "estimated", "no_difference_resolved"]
    metric: str
    baseline: dict[str, Any] | None = None
    difference: float | None = None
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    p_value: Annotated[float, Field(ge=0, le=1)] | None = None
    pairs: Annotated[int, Field(ge=0)] = 0
    recommended_mean: float | None = None
    baseline_mean: float | None = None
    reason: str


class SpentBudget(Strict):
    """The budget allowed and spent, in full-training equivalents."""

    full_runs: float
    spent: float


class Provenance(Strict):
    """Where the schedule comes from. `content_hash` covers all but ids, times and itself."""

    job_id: Annotated[str, Field(pattern=r"^[\w.:-]{1,100}$")]
    tool_version: Annotated[str, Field(pattern=r"^[\w.+-]{1,50}$")]
    created_at: Annotated[str, Field(max_length=40)]
    content_hash: str
    seed: int
    budget: SpentBudget


class ExportFidelity(Strict):
    """How exactly an export reproduces the rates; `max_rel_error` is relative to the peak."""

    fidelity: Literal["exact", "shifted", "approximate", "unsupported"]
    max_rel_error: float | None = None
    reason: str | None = None


class _Config(Strict):
    """What both kinds of config carry."""

    schema_url: Annotated[str | None, Field(alias="$schema")] = None
    schema_version: Literal["1.0"] = "1.0"
    optimizer: OptimizerRef | None = None
    context: Context | None = None


class ScheduleDocument(_Config, Schedule):
    """A schedule with everything a loader, a person or a pipeline needs to trust it.

    Only the schedule itself is required on input; a recommendation carries all of it.
    """

    checksum_points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None
    verdict: Verdict | None = None
    provenance: Provenance | None = None
    exports: dict[str, ExportFidelity] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The whole config as plain JSON data, in the order of the format's description."""
        data = super().document
        head = {key: data.pop(key) for key in ("$schema", "schema_version")}
        points = self.checksum_points
        if points is not None:
            data["checksum_points"] = [[int(step), rate] for step, rate in points]
        return {**head, **data}

    def text(self) -> str:
        """The config as the JSON file that is downloaded."""
        return dumps(self.document, indent=2) + "\n"

    def hashed(self) -> str:
        """The digest of the content: the same job gives the same one, whenever it runs."""
        data = {key: value for key, value in self.document.items() if key != "$schema"}
        provenance = data.get("provenance") or {}
        data["provenance"] = {k: v for k, v in provenance.items() if k not in _NOT_HASHED}
        return digest(data)


class ReactiveDocument(_Config):
    """A schedule whose rate reacts to a metric: it has no lr(t), so no table and no checksum.

    `unit` says how often the metric is looked at.
    """

    kind: Literal["reactive"]
    unit: Literal["step", "epoch"] = "epoch"
    peak_lr: Annotated[float, Field(gt=0, le=1e6)]
    body: Plateau

    def __call__(self, t: Any) -> NoReturn:
        """There is no lr(t).

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(
            f"a {self.body.family} schedule has no rate at step {t!r}: it reacts to "
            f"{self.body.monitor}; use body.factors(values of it)"
        )

    @property
    def document(self) -> dict[str, Any]:
        """The whole config as plain JSON data."""
        data = self.model_dump(mode="json", by_alias=True)
        head = {key: data.pop(key) for key in ("$schema", "schema_version", "kind", "unit")}
        data["body"] = {"family": self.body.family, **data["body"]}
        return {**head, "peak_lr": data.pop("peak_lr"), "body": data.pop("body"), **data}

    def text(self) -> str:
        """The config as a JSON file."""
        return dumps(self.document, indent=2) + "\n"


AnyDocument = ScheduleDocument | ReactiveDocument


def load(source: str | Path | dict[str, Any]) -> AnyDocument:
    """Load a schedule config from a JSON or YAML file or from its data, and verify it.

    Lengths may be relative ("0.1dur", "5ep") and a `preset` may stand for the parts of a schedule:
    what is returned is absolute.

    Raises:
        InvalidScheduleError: the file cannot be read, is no JSON, breaks the format (the message
            names the field) or does not give the rates it promises.
    """
    data = source if isinstance(source, dict) else _read(Path(source))
    model = ReactiveDocument if data.get("kind") == "reactive" else ScheduleDocument
    try:
        document: AnyDocument = model.model_validate(data)
    except ValidationError as error:
        raise InvalidScheduleError(_explained(error)) from None
    if isinstance(document, ScheduleDocument):
        verify(document)
    return document


def verify(schedule: ScheduleDocument) -> None:
    """Check the schedule's own rates against its checksum points and its content hash.

    Raises:
        InvalidScheduleError: naming the first point that is wrong, or the hash that is.
    """
    for step, promised in schedule.checksum_points or []:
        rate = schedule(step)
        if not math.isclose(
            rate, promised, rel_tol=0, abs_tol=CHECKSUM_TOLERANCE * schedule.peak_lr
        ):
            raise InvalidScheduleError(
                f"checksum point at step {int(step)} promises {promised!r}, "
                f"but the schedule gives {rate!r}: the config was changed or is damaged"
            )
    provenance = schedule.provenance
    if provenance and provenance.content_hash != schedule.hashed():
        raise InvalidScheduleError(
            "provenance.content_hash does not match: the config was changed or is damaged"
        )


def _read(path: Path) -> dict[str, Any]:
    form, parse = ("YAML", yaml.safe_load) if path.suffix in _YAML else ("JSON", json.loads)
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidScheduleError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidScheduleError(f"{path} is not {form}: {error}") from None
    if not isinstance(data, dict):
        raise InvalidScheduleError(f"{path} must hold a {form} object, not a {type(data).__name__}")
    return data


def _explained(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        about = problem.get("ctx", {}).get("field")
        place = [str(part) for part in problem["loc"]]
        if place[:1] == ["body"]:
            del place[1:2]  # the family, which the validator names on its way
        field = ".".join([*place, *([str(about)] if about else [])])
        got = "" if about else f" (got {problem['input']!r:.80})"
        lines.append(f"{field or 'the document'}: {problem['msg']}{got}")
    return "not a valid schedule config: " + "; ".join(lines)
