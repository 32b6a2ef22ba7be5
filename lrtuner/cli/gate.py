"""`--fail-if-worse-than`: the schedule in use as the job's baseline, and the exit code after it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lrtuner.cli.output import ExitCode, note
from lrtuner.client import Job, ProblemError
from lrtuner.comparing import same_rates
from lrtuner.document import ScheduleDocument, load
from lrtuner.errors import InvalidInputError, InvalidScheduleError
from lrtuner.gate import Standing, standing

OPTION = "--fail-if-worse-than"

FailIfWorseThan = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="SCHEDULE.json",
        help="Compare with the schedule in use, paired on fresh seeds; end with 3 if the new one "
        "is worse.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help=f"With {OPTION}: end with 3 unless it is confirmed better.")
]


@dataclass(frozen=True)
class Gate:
    """The schedule in use, which the file holds, and whether not being better is enough to fail."""

    file: str
    in_use: ScheduleDocument
    strict: bool

    @property
    def options(self) -> list[str]:
        """The options of the command that made it."""
        return [OPTION, self.file, *(["--strict"] if self.strict else [])]

    def into(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The job with the schedule in use as its baseline: its pairs are then those of the two.

        Raises:
            InvalidInputError: the job would not compare the two, or says otherwise itself.
        """
        search = spec.get("search")
        search = search if isinstance(search, dict) else {}
        if search.get("mode") == "range_test" or search.get("confirm_pairs") == 0:
            raise InvalidInputError(
                f"{OPTION} needs pairs on fresh seeds: let search.mode be full and "
                "search.confirm_pairs 1 or more (5 can confirm)"
            )
        self._check_optimizer(spec.get("optimizer"))
        if spec.get("baseline") is not None and not self._is(spec["baseline"]):
            raise InvalidInputError(
                f"the job's baseline is another schedule than {self.file}: leave out the baseline, "
                f"or {OPTION}"
            )
        return {**spec, "baseline": self.in_use.bare().document}

    def require(self, job: Job) -> None:
        """Make sure that the job compares with the schedule in use.

        Raises:
            InvalidInputError: it does not.
        """
        baseline = job.spec.get("baseline")
        if baseline is None or not self._is(baseline):
            raise InvalidInputError(
                f"job {job.id} does not compare with {self.file}: "
                f"give {OPTION} when it is submitted"
            )

    def explain(self, error: ProblemError) -> None:
        """Say what the baseline is, where the service refuses it: the job file may have none."""
        if any((e.field or "").startswith("baseline") for e in error.problem.errors or ()):
            note(f"lrtuner: the job's baseline is {self.file}, given with {OPTION}")

    def judge(self, recommended: ScheduleDocument) -> Standing:
        """How the new schedule stands to the one in use."""
        return standing(recommended, self.in_use, self.file)

    def enforce(self, found: Standing, tell: Callable[[str], None]) -> None:
        """Tell how the new schedule stands; end the command with 3 where that is not enough."""
        if found.outcome == "better":
            tell(f"\n{found.reason}")
        elif found.outcome == "worse" or self.strict:
            note(f"lrtuner: {found.reason}")
            raise typer.Exit(ExitCode.NOT_BETTER)
        else:
            note(f"lrtuner: warning: {found.reason}")

    def _is(self, baseline: Any) -> bool:
        try:
            found = load(baseline) if isinstance(baseline, dict) else None
        except InvalidScheduleError:
            return False
        return isinstance(found, ScheduleDocument) and same_rates(found, self.in_use)

    def _check_optimizer(self, optimizer: Any) -> None:
        wanted = self.in_use.optimizer
        name = optimizer.get("name") if isinstance(optimizer, dict) else None
        if wanted and name is not None and wanted.name != name:
            raise InvalidInputError(
                f"{self.file} is for the optimizer {wanted.name}, the job trains with {name}: "
                "a rate means something else there"
            )


def gate_of(file: str | None, strict: bool) -> Gate | None:
    """The gate that the options ask for.

    Raises:
        InvalidInputError: the file is no schedule that could be compared with.
    """
    if file is None:
        if strict:
            raise InvalidInputError(f"--strict needs {OPTION}")
        return None
    document = load(Path(file))
    if not isinstance(document, ScheduleDocument):
        raise InvalidInputError(
            f"{file} reacts to a metric: only a schedule with rates of its own can be compared with"
        )
    return Gate(file, document, strict)
