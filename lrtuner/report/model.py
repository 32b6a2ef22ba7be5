"""What a report says: the answer, the evidence for it, its price, and how to repeat it."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from lrtuner.agreement import Agreement
from lrtuner.document import Verdict
from lrtuner.evidence import Failure
from lrtuner.ledger import Ledger
from lrtuner.lifecycle import JobStatus, TrialState
from lrtuner.pairs import Pairs
from lrtuner.range_test import Kind, Peak
from lrtuner.sensitivity import Sensitivity
from lrtuner.strict import Record


class JobFacts(Record):
    """The job: who it is, where it stands, and why it ended. Times are UTC."""

    id: str
    status: JobStatus
    name: str | None = None
    metadata: dict[str, str] = {}
    queued_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    error: Failure | None = None


class Objective(Record):
    """The metric that decides, and which way is better."""

    metric: str
    direction: Literal["minimize", "maximize"]
    target: dict[str, Any] | None = None


class Answer(Record):
    """The recommended schedule in words and as it was published, with its verdict.

    `status` is the verdict's in words, `against` what was compared with.
    """

    title: str
    words: list[tuple[str, str]]
    status: str | None
    against: str | None
    verdict: Verdict | None
    document: dict[str, Any]


class Warned(Record):
    """Something that makes the result less sure."""

    model_config = ConfigDict(extra="ignore")

    code: str | None = None
    message: str


class Drift(Record):
    """How the best peak falls with the horizon: lr*(T) ~ T^-alpha."""

    model_config = ConfigDict(extra="ignore")

    alpha: float
    source: str | None = None


class RangeTest(Record):
    """What the range test read off its sweeps and probes."""

    status: str
    message: str
    sweeps: int
    probes: int
    cost: float
    low: float
    high: float
    source: str
    peaks: dict[Kind, Peak]
    repeatable: bool


class Run(Record):
    """One training run, without its curve. `test` is the metric on the test split."""

    number: int
    purpose: str
    origin: str
    family: str
    shape: str
    arm: str
    peak_lr: float
    horizon: int
    seed: int
    state: TrialState
    value: float | None
    test: float | None
    cost: float
    alone: float
    error: Failure | None


class Comparison(Record):
    """A run with an optimizer that needs no schedule, beside the recommendation on that seed."""

    name: str
    number: int
    seed: int
    state: TrialState
    value: float | None
    recommended: float | None
    difference: float | None
    cost: float


class Reproduction(Record):
    """What to run to get the same again: the job as it was run, and with what."""

    commands: list[str]
    job: dict[str, Any]
    seed: int
    environment: dict[str, Any] | None = Field(
        description="The machine and the versions, as the worker of the last attempt told them."
    )
    content_hash: str | None


class Report(Record):
    """Everything a job found. What is null or empty is not there; `missing` says why, by field."""

    job: JobFacts
    state: str = Field(description="Where the job stands, in a sentence.")
    objective: Objective
    answer: Answer | None
    warnings: list[Warned]
    pairs: Pairs | None
    range_test: RangeTest | None
    sensitivity: list[Sensitivity]
    drift: Drift | None
    runs: list[Run]
    agreements: list[Agreement]
    ledger: Ledger
    comparisons: list[Comparison]
    reproduction: Reproduction
    missing: dict[str, str]
