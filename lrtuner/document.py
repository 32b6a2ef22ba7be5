"""The schedule config as stored and downloaded (version 1.0): a schedule and its provenance.

Two kinds: `closed_form`, whose rates are a function of time, and `reactive`, whose rate reacts to a
metric.
"""

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

import yaml
from pydantic import Field, ValidationError

from lrtuner.errors import InvalidScheduleError, UnsupportedError
from lrtuner.jsontext import digest, dumps
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.plateau import Plateau
from lrtuner.strict import Strict
from lrtuner.training import ParamGroup

SCHEMA_NAME = "schedule-1.0"

CHECKSUM_TOLERANCE = 1e-9
"""Allowed difference at a checksum point, as a share of the peak: rounding between platforms."""

_YAML = (".yaml", ".yml")
_MAX_COMPLAINTS = 10
_NOT_HASHED = ("job_id", "created_at", "content_hash")


class OptimizerRef(Strict):
    """The optimizer the schedule was tuned for: its name and its arguments but the rate."""

    name: str = Field(description="Its name, such as `sgd`.")
    args: Annotated[
        dict[str, Any], Field(default_factory=dict, description="Its arguments by name.")
    ]
    # left out where there are none: documents from before keep their content hash
    param_groups: list[ParamGroup] = Field(
        default_factory=list,
        exclude_if=lambda found: not found,
        description="Parameters with a part of the rate: the schedule's is that of the largest.",
    )


class Context(Strict):
    """How steps came about when the schedule was tuned, so that a loader can verify them."""

    steps_per_epoch: Annotated[int, Field(ge=1, description="Optimizer steps in an epoch.")]
    epochs: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many there were; null where steps were given."
    )
    batch_size: Annotated[int, Field(ge=1, description="Examples in a batch.")]
    grad_accum: Annotated[int, Field(ge=1, description="Batches in an optimizer step.")] = 1
    world_size: Annotated[int, Field(ge=1, description="Processes that trained together.")] = 1


class LRSensitivity(Strict):
    """The relative change of the loss (0.05: 5 % more) with another peak, null if it diverges.

    Measured on the baseline's shape over the shortest horizon.
    """

    half_peak: float | None = Field(default=None, description="With half the best peak.")
    double_peak: float | None = Field(default=None, description="With twice the best peak.")


class Verdict(Strict):
    """How sure the recommendation is: paired runs on fresh seeds against a tuned baseline.

    `difference` is recommended minus baseline in the metric's unit, with its 95 % interval;
    `p_value` is from the exact one-sided sign-flip test over `pairs` seeds. `confirmed` needs at
    least 5 pairs and an interval that excludes zero on the better side.
    """

    status: Literal["confirmed", "estimated", "no_difference_resolved"] = Field(
        description="Whether the recommendation is better than the baseline, as far as is known."
    )
    metric: str = Field(description="What was compared.")
    baseline: dict[str, Any] | None = Field(
        default=None, description="The schedule that was compared with."
    )
    difference: float | None = Field(
        default=None, description="The mean of recommended minus baseline over the pairs."
    )
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="The 95 % interval of the difference."
    )
    p_value: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Of the one-sided sign-flip test."
    )
    pairs: Annotated[int, Field(ge=0, description="Fresh seeds that both were run on.")] = 0
    recommended_mean: float | None = Field(
        default=None, description="The metric's mean with the recommended schedule."
    )
    baseline_mean: float | None = Field(
        default=None, description="The metric's mean with the baseline."
    )
    reason: str = Field(description="Why the status is what it is, for people.")
    # left out where there are none: documents from before keep their content hash
    warnings: list[str] = Field(
        default_factory=list,
        exclude_if=lambda found: not found,
        description="What makes the result less sure, for people.",
    )
    lr_sensitivity: LRSensitivity | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="What a wrong peak costs.",
    )


class SpentBudget(Strict):
    """The budget allowed and spent, in full-training equivalents."""

    full_runs: float = Field(description="What was allowed.")
    spent: float = Field(description="What was spent.")


class Provenance(Strict):
    """Where the schedule comes from. `content_hash` covers all but ids, times and itself."""

    job_id: Annotated[str, Field(pattern=r"^[\w.:-]{1,100}$", description="The job that found it.")]
    tool_version: Annotated[
        str, Field(pattern=r"^[\w.+-]{1,50}$", description="The version of lrtuner.")
    ]
    created_at: Annotated[str, Field(max_length=40, description="When, in UTC.")]
    content_hash: str = Field(description="`sha256:` and the digest of the content.")
    seed: int = Field(description="The seed of the job.")
    budget: SpentBudget = Field(description="What it cost.")


class ExportFidelity(Strict):
    """How exactly an export reproduces the rates; `max_rel_error` is relative to the peak."""

    fidelity: Literal["exact", "shifted", "approximate", "unsupported"] = Field(
        description="How exact the export is; `shifted` is right, but some steps late."
    )
    max_rel_error: float | None = Field(
        default=None, description="The largest difference of a rate, as a share of the peak."
    )
    reason: str | None = Field(default=None, description="Why it is not exact, or not possible.")


class _Config(Strict):
    """What both kinds of config carry."""

    schema_url: Annotated[
        str | None, Field(alias="$schema", description="Where the JSON Schema is served.")
    ] = None
    schema_version: Literal["1.0"] = Field(
        default="1.0", description="The version of the format; another one is refused."
    )
    optimizer: OptimizerRef | None = Field(
        default=None, description="The optimizer the schedule is for."
    )
    context: Context | None = Field(default=None, description="The training it was tuned in.")


class ScheduleDocument(_Config, Schedule):
    """A schedule with everything a loader, a person or a pipeline needs to trust it.

    Only the schedule itself is required on input; a recommendation carries all of it.
    """

    checksum_points: list[Annotated[list[float], Field(min_length=2, max_length=2)]] | None = Field(
        default=None, description="[t, rate] pairs by which a loader can test itself."
    )
    verdict: Verdict | None = Field(default=None, description="How sure the recommendation is.")
    provenance: Provenance | None = Field(default=None, description="Where it comes from.")
    exports: dict[str, ExportFidelity] | None = Field(
        default=None, description="How exactly each download format reproduces the rates."
    )

    @property
    def document(self) -> dict[str, Any]:
        """The whole config as plain JSON data, in the order of the format's description."""
        data = super().document
        head = {key: data.pop(key) for key in ("$schema", "schema_version")}
        points = self.checksum_points
        if points is not None:
            data["checksum_points"] = [[int(step), rate] for step, rate in points]
        return {**head, **data}

    def rescaled(self, total_steps: int) -> Self:
        """The same shape over another horizon, without what holds for the old one alone."""
        scaled = super().rescaled(total_steps)
        untried = {"verdict": None, "provenance": None, "exports": None}
        return scaled.model_copy(update={"checksum_points": scaled.checkpoints(), **untried})

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

    kind: Literal["reactive"] = Field(description="The rate reacts to a metric.")
    unit: Literal["step", "epoch"] = Field(
        default="epoch", description="How often the metric is looked at."
    )
    peak_lr: Annotated[float, Field(gt=0, le=1e6, description="The rate at the start.")]
    body: Plateau = Field(description="The rule.")

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
                f"checksum point at {schedule.unit} {int(step)} promises {promised!r}, "
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
    problems = error.errors(include_url=False)
    # a list with a wrong item is also told to be too short: the item is enough
    inside = {problem["loc"][:-1] for problem in problems}
    problems = [p for p in problems if p["type"] != "too_short" or p["loc"] not in inside]
    lines = []
    for problem in problems[:_MAX_COMPLAINTS]:
        about = str(problem.get("ctx", {}).get("field", ""))
        place = [str(part) for part in problem["loc"]]
        if place[:1] == ["body"] and FAMILIES.keys() & place[1:2]:
            del place[1]  # the family, which the validator names on its way
        field = ".".join([*place, *about.split(".")]).strip(".")
        told = problem["msg"].removeprefix("Value error, ")
        absent = problem["type"] in ("missing", "union_tag_not_found")
        got = "" if absent else _got(problem["input"], about, told)
        lines.append(f"{field or 'the document'}: {told}{got}")
    if len(problems) > len(lines):
        lines.append(f"and {len(problems) - len(lines)} more")
    return "not a valid schedule config: " + "; ".join(lines)


def _got(data: Any, about: str, told: str) -> str:
    """The value given at `about`, a dotted path in `data`, unless the sentence tells it."""
    for name in filter(None, about.split(".")):
        inside = dict(enumerate(data)) if isinstance(data, list | tuple) else data
        key = int(name) if name.isdecimal() else name
        if not isinstance(inside, dict) or key not in inside:
            return ""
        data = inside[key]
    try:
        text = f"{data!r:.80}"
    except ValueError:
        text = "a number of thousands of digits"
    is_told = about and re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", told)
    return "" if is_told else f" (got {text})"
