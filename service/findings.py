"""What a job has found so far, each part read from the database when it is first asked for."""

import json
from functools import cached_property
from typing import Any

from lrtuner import document
from lrtuner.document import AnyDocument, ScheduleDocument
from lrtuner.errors import InvalidScheduleError
from lrtuner.evidence import Failure, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.lifecycle import Stage
from lrtuner.range_test import RangeTestResult
from lrtuner.report import Evidence, JobFacts, Report, make_report
from lrtuner.store import JobRow, reading
from service.pages import utc_or_none

_ALL = 1_000_000


class Findings:
    """A job and what it has left. Read what is needed of it within one transaction.

    Raises:
        NotFoundError: there is no such job.
    """

    def __init__(self, connection: Any, job_id: str) -> None:
        self._connection = connection
        self.job: JobRow = reading.get_job(connection, job_id)

    @cached_property
    def spec(self) -> JobSpec:
        """What was asked."""
        return JobSpec.model_validate_json(json.dumps(self.job.spec))

    @property
    def sign(self) -> float:
        """+1 where a smaller metric is better, -1 where a larger is."""
        return self.spec.objective.sign

    @cached_property
    def recommendation(self) -> AnyDocument | None:
        """The published config."""
        published = reading.get_recommendation(self._connection, self.job.id)
        return None if published is None else loaded(published)

    @cached_property
    def range_test(self) -> RangeTestResult | None:
        """The result of the range test."""
        found = self._stage(Stage.RANGE_TEST)
        return RangeTestResult.model_validate(found) if found else None

    @cached_property
    def trials(self) -> list[TrialRecord]:
        """Every run, with its curve."""
        rows = reading.list_trials(self._connection, self.job.id, limit=_ALL)
        return [TrialRecord.model_validate(row.document) for row in rows]

    @cached_property
    def report(self) -> Report:
        """All of it together."""
        schedule = self.recommendation
        environment = reading.last_event(self._connection, self.job.id, "environment")
        return make_report(
            Evidence(
                job=_facts(self.job),
                spec=self.spec,
                range_test=self.range_test,
                trials=self.trials,
                search=self._stage(Stage.SEARCH) or {},
                confirm=self._stage(Stage.CONFIRM) or {},
                recommendation=schedule if isinstance(schedule, ScheduleDocument) else None,
                environment=environment.data if environment else None,
            )
        )

    def _stage(self, stage: Stage) -> dict[str, Any] | None:
        return reading.get_stage(self._connection, self.job.id, stage)


def loaded(published: str) -> AnyDocument:
    """The published text as a document."""
    try:
        return document.load(json.loads(published))
    except InvalidScheduleError as error:  # our own file: not the caller's fault
        raise RuntimeError(f"a published recommendation cannot be loaded: {error}") from error


def _facts(row: JobRow) -> JobFacts:
    ended = row.timestamps[f"{row.status}_at"] if row.status.is_finished else None
    error = row.error or {}
    return JobFacts(
        id=row.id,
        status=row.status,
        name=row.name,
        metadata=row.metadata,
        queued_at=utc_or_none(row.timestamps["queued_at"]),
        started_at=utc_or_none(row.timestamps["started_at"]),
        finished_at=utc_or_none(ended),
        error=Failure(code=str(error.get("code")), message=str(error.get("message", "")))
        if error
        else None,
    )
