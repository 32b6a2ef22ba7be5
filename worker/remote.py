"""A task that another process trains, over a link to it: asked, and its answers checked.

The other end may be hostile, if it runs code of others. A lie about a loss only misleads the one
who tells it. What could harm others is refused: answers of another shape, to another question, of
more runs than were asked for, or of runs that cost nothing, with which a search would go on for
ever.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, TypeAdapter, ValidationError

from lrtuner.errors import JobFailedError
from lrtuner.evidence import Environment, Failure
from lrtuner.job import Comparison, JobSpec
from lrtuner.lifecycle import TrialState
from lrtuner.objective import Target
from lrtuner.range_test import Sweep
from lrtuner.strict import Strict
from worker.journal import storable
from worker.trainer import Compared
from worker.training import Run

PROCESS_DIED = "process_died"

_BYTES = 1 << 20  # of an answer without the rates
_BYTES_PER_RATE = 32
_MOST_METRICS = 64
_LONGEST_REASON = 500
_ALMOST = 1.0 - 1e-9

Count = Annotated[int, Field(ge=0, le=10**12)]
Positive = Annotated[int, Field(ge=1, le=10**12)]
Note = Annotated[str, Field(max_length=2000)]
T = TypeVar("T")


class RemoteError(JobFailedError):
    """What another process raised while it trained, or how it ended.

    Args:
        code: one of `worker.failure`, or what the code itself raised; or `process_died`.
        message: what happened, for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LostError(RemoteError):
    """The process ended for a reason that it did not tell: what was asked is asked again, once."""


class Link(Protocol):
    """The way to one process that answers questions about one task (`worker.serve`).

    It knows how long an answer may take, what the process may use, and how to end it.
    """

    @property
    def ended(self) -> bool:
        """Whether it can be asked no more."""

    @property
    def walls(self) -> Sequence[str]:
        """What stands between the code that trains and this process."""

    @property
    def warnings(self) -> Sequence[str]:
        """Each wall that is missing, and what of it."""

    def send(self, message: dict[str, Any]) -> None:
        """Ask for something.

        Raises:
            JobFailedError: it does not take it; the code says why.
        """

    def receive(self, largest: int) -> dict[str, Any]:
        """The next message, of at most `largest` bytes.

        Raises:
            JobFailedError: none came; the code says why, and the process is ended then.
        """

    def refuse(self, problem: str) -> JobFailedError:
        """End it because of what it said; the error to raise."""

    def close(self) -> None:
        """End the process, and all that it started. May be called again."""


class Facts(Strict):
    """What the task said of itself."""

    total_steps: Positive
    steps_per_epoch: Positive
    examples_per_evaluation: Count
    num_validation: Count
    num_test: Count
    num_bytes: Count | None
    streamed: bool
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    notes: Annotated[list[Note], Field(max_length=20)] = []


class Memory(Strict):
    """Of the device of a process, in bytes: the most that it took so far, and what is free now."""

    peak: Count
    free: Count


class Ended(Strict):
    """One run of those that were asked for."""

    position: int
    run: Run


class _Told(Strict):
    """A message: an answer, or the failure that there is in its place."""

    number: int
    answer: dict[str, Any] | None = None
    failure: Failure | None = None


_FACTS, _SWEEP, _COMPARED = TypeAdapter(Facts), TypeAdapter(Sweep), TypeAdapter(Compared)
_ENDED, _MEMORY = TypeAdapter(Ended), TypeAdapter(Memory)


@dataclass(frozen=True)
class _Data:
    facts: Facts

    @property
    def validation(self) -> range:
        return range(self.facts.num_validation)

    @property
    def test(self) -> range:
        return range(self.facts.num_test)

    @property
    def num_bytes(self) -> int | None:
        return self.facts.num_bytes

    @property
    def streamed(self) -> bool:
        return self.facts.streamed

    def digest(self) -> str:
        return self.facts.digest


class RemoteTask:
    """See `worker.trainer.Trainer`. A link that ended is started anew by the next question.

    Args:
        spec: the job.
        start: starts a process that answers, and gives the link to it.

    Raises:
        JobFailedError: it could not be started, the task could not be built, or says of itself what
            cannot be.
    """

    environment: Environment | None = None

    def __init__(self, spec: JobSpec, start: Callable[[], Link]) -> None:
        self.spec = spec
        self._start = start
        self._link: Link | None = None
        self._number = 0
        self._facts: Facts | None = None
        self.walls: Sequence[str] = ()
        self.warnings: Sequence[str] = ()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that trains."""
        if self._link:
            self._link.close()
        self._link = None

    @property
    def facts(self) -> Facts:
        """What the task said of itself when it was first built."""
        assert self._facts is not None, "set by the constructor"  # noqa: S101
        return self._facts

    @property
    def notes(self) -> Sequence[str]:
        """See `Trainer`."""
        return [storable(note) for note in self.facts.notes]

    @property
    def data(self) -> _Data:
        """See `Sizes`."""
        return _Data(self.facts)

    @property
    def total_steps(self) -> int:
        """See `Sizes`."""
        return self.facts.total_steps

    @property
    def batch_size(self) -> int:
        """See `Sizes`."""
        return self.spec.training.batch_size

    @property
    def grad_accum(self) -> int:
        """See `Sizes`."""
        return self.spec.training.grad_accum

    @property
    def examples_per_update(self) -> int:
        """See `Sizes`."""
        return self.spec.training.examples_per_update

    @property
    def steps_per_epoch(self) -> int:
        """See `Sizes`."""
        return self.facts.steps_per_epoch

    @property
    def examples_per_evaluation(self) -> int:
        """See `Sizes`."""
        return self.facts.examples_per_evaluation

    def memory(self) -> Memory:
        """What the process takes of its device, and what is free there."""
        return self._again(self._memory)

    def _memory(self) -> Memory:
        self._ask("memory")
        return self._answer(_MEMORY, 0)

    def one_sweep(self, rates: list[float], seed: int) -> Sweep:
        """See `Trainer`."""
        return self._again(lambda: self._one_sweep(rates, seed))

    def _one_sweep(self, rates: list[float], seed: int) -> Sweep:
        self._ask("one_sweep", rates=rates, seed=seed)
        sweep = self._answer(_SWEEP, len(rates))
        self._check(_of_sweep(sweep, rates, seed))
        return sweep

    def train_together(
        self,
        sequences: Sequence[ArrayLike],
        seed: int,
        *,
        test: bool,
        norms: bool,
        target: Target | None,
    ) -> Iterator[tuple[int, Run]]:
        """See `Trainer`. Whoever does not take all of the runs ends the process."""
        given: set[int] = set()
        for may_be_lost in (True, False):
            runs = self._train_together(sequences, seed, test=test, norms=norms, target=target)
            try:
                for position, run in runs:
                    if position not in given:
                        given.add(position)
                        yield position, run
            except LostError:
                if not (may_be_lost and self._link):
                    raise
            else:
                return

    def _train_together(
        self,
        sequences: Sequence[ArrayLike],
        seed: int,
        *,
        test: bool,
        norms: bool,
        target: Target | None,
    ) -> Iterator[tuple[int, Run]]:
        asked = [np.asarray(rates, dtype=np.float64).tolist() for rates in sequences]
        told = target.model_dump() if target else None
        self._ask("train_together", sequences=asked, seed=seed, test=test, norms=norms, target=told)
        left, runs = set(range(len(asked))), list[Run]()
        try:
            while left:
                ended = self._answer(_ENDED, max(map(len, asked)))
                self._check(None if ended.position in left else f"run {ended.position}")
                left.remove(ended.position)
                runs.append(ended.run)
                self._check(self._of_run(ended.run, asked[ended.position], target))
                if not left:
                    self._check(_of_runs(runs))
                yield ended.position, ended.run
        except GeneratorExit:
            if left:
                self.close()
            raise

    def compared(self, name: Comparison, steps: int) -> Compared:
        """See `Trainer`."""
        return self._again(lambda: self._compared(name, steps))

    def _compared(self, name: Comparison, steps: int) -> Compared:
        self._ask("compared", name=name, steps=steps)
        found = self._answer(_COMPARED, 0)
        short = found.cost < _ALMOST * steps / self.total_steps or not math.isfinite(found.cost)
        wrong = short or found.schedule.total_steps != steps
        self._check("a comparison of another length" if wrong else None)
        return found

    def compare(self, name: Comparison, seed: int, steps: int) -> Run:
        """See `Trainer`."""
        rates = self.compared(name, steps).schedule.values().tolist()
        return self._again(lambda: self._compare(name, seed, steps, rates))

    def _compare(self, name: Comparison, seed: int, steps: int, rates: list[float]) -> Run:
        self._ask("compare", name=name, seed=seed, steps=steps)
        run = self._answer(_ENDED, steps).run
        self._check(self._of_run(run, rates, self.spec.objective.target) or _of_runs([run]))
        return run

    def _again(self, question: Callable[[], T]) -> T:
        """The answer to a question, which is asked again where the process is lost."""
        try:
            return question()
        except LostError:
            if self._link is None:  # closed meanwhile
                raise
            return question()

    def _begin(self) -> None:
        """Build the task, and once more where the process is lost meanwhile."""
        try:
            self._running()
        except LostError:
            self._running()

    def _running(self) -> None:
        """See to it that there is a process, with the task built in it."""
        if self._link and not self._link.ended:
            return
        self.close()
        self._link = self._start()
        self.walls, self.warnings = self._link.walls, self._link.warnings
        self._send("describe", {})
        facts = self._answer(_FACTS, 0)
        self._check(None if self._facts in (None, facts) else "another task than before")
        self._facts = facts

    def _ask(self, what: str, **asked: Any) -> None:
        self._running()
        self._send(what, asked)

    def _send(self, what: str, asked: dict[str, Any]) -> None:
        self._number += 1
        self._open.send({"number": self._number, "ask": what, **asked})

    def _answer(self, shape: TypeAdapter[T], rates: int) -> T:
        """The next message as an answer of that shape, in which there are so many rates.

        Raises:
            JobFailedError: what the model raised; or it told what it must not, and has been ended.
        """
        message = self._open.receive(_BYTES + _BYTES_PER_RATE * rates)
        try:
            told = _Told.model_validate(message)
            if told.number != self._number:
                raise self._open.refuse(f"an answer to question {told.number}")
            if told.failure:
                raise RemoteError(told.failure.code[:64], storable(told.failure.message))
            # through JSON once more, where a strict check knows what numbers and enums look like
            return shape.validate_json(json.dumps(told.answer), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self._open.refuse(storable(f"{where}: {first['msg']}")) from None

    @property
    def _open(self) -> Link:
        if self._link is None:
            raise RemoteError(PROCESS_DIED, "its process has been closed")
        return self._link

    def _check(self, problem: str | None) -> None:
        if problem:
            raise self._open.refuse(problem)

    def _of_run(self, run: Run, rates: list[float], target: Target | None) -> str | None:
        """What is wrong with a run at these rates."""
        if run.state not in (TrialState.COMPLETE, TrialState.DIVERGED):
            return f"a run that is {run.state}"
        if not 1 <= run.updates == len(run.rates) <= len(rates):
            return f"{run.updates} updates at {len(run.rates)} of {len(rates)} rates"
        complete = run.state is TrialState.COMPLETE
        if complete and target is None and run.updates != len(rates):
            return f"a complete run of {run.updates} of {len(rates)} updates"
        if complete != (run.reason is None) or len(run.reason or "") > _LONGEST_REASON:
            return "a run without the right reason"
        if complete and run.metrics.get("val_loss") is None:
            return "a complete run without val_loss"
        if len(run.metrics) > _MOST_METRICS:
            return f"{len(run.metrics)} metrics"
        curve = run.curve
        if not len(curve.steps) == len(curve.train_loss) == len(curve.val_loss):
            return "a curve with lists of several lengths"
        least = _ALMOST * run.updates / self.total_steps
        if run.alone < least or run.cost < 0 or run.seconds < 0:
            return f"a run that costs {run.alone:g}, less than its updates"
        return None


def _of_runs(runs: list[Run]) -> str | None:
    """What is wrong with all runs of a question: together they cost as much as the longest."""
    spent, longest = math.fsum(r.cost for r in runs), max(r.alone for r in runs)
    return f"runs that cost {spent:g} together" if spent < _ALMOST * longest else None


def _of_sweep(sweep: Sweep, rates: list[float], seed: int) -> str | None:
    lengths = {len(sweep.lrs), len(sweep.losses), len(sweep.held_out or rates), len(rates)}
    if sweep.seed != seed or len(lengths) != 1 or not 0 <= sweep.updates <= len(rates):
        return "another sweep than was asked for"
    return None
