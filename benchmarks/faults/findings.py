"""What the database says afterwards: read row by row, without the queue's own code."""

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from lrtuner.store.engine import Database
from lrtuner.store.tables import events, jobs, recommendations, stages, trials

_BEGINS = ("job.started", "job.rescued")


@dataclass(frozen=True)
class Event:
    """One event of a job."""

    seq: int
    at: float
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """Everything that the database keeps of one job."""

    id: str
    name: str
    status: str
    error: Any
    attempt: int
    events: list[Event]
    trials: list[Any]
    stages: list[Any]
    published: list[Any]

    @property
    def text(self) -> str:
        """The recommendation, without the id of the job and the time."""
        [row] = self.published
        created_at = json.loads(row.document)["provenance"]["created_at"]
        return str(row.document).replace(self.id, "ID").replace(str(created_at), "TIME")

    @property
    def begins(self) -> dict[int, Event]:
        """How each attempt began, by its number."""
        return {e.data["attempt"]: e for e in self.events if e.kind in _BEGINS}

    def stale_writes(self) -> list[str]:
        """Rows that another attempt left than the one that owned the job at that time."""
        found = [
            f"trial {t.number}: {what} at {at} by attempt {t.attempt}"
            for t in self.trials
            for what, at in (("started", t.started_at), ("finished", t.finished_at))
            if at is not None and not self._owned(t.attempt, at)
        ]
        found += [
            f"stage {s.stage}: at {s.finished_at} by attempt {s.attempt}"
            for s in self.stages
            if not self._owned(s.attempt, s.finished_at)
        ]
        found += [
            f"recommendation: attempt {row.attempt} of {self.attempt}"
            for row in self.published
            if row.attempt != self.attempt
        ]
        told = Counter(e.data["number"] for e in self.events if e.kind == "trial.finished")
        found += [f"trial {number}: told {n} times" for number, n in told.items() if n > 1]
        found += self._events_out_of_order()
        return [f"{self.id}: {text}" for text in found]

    def publications(self) -> int:
        """How often a result was made known."""
        succeeded = sum(e.kind == "job.succeeded" for e in self.events)
        return max(succeeded, len(self.published))

    def _owned(self, attempt: int, at: float) -> bool:
        """Whether the attempt owned the job then: after its own begin and before the next one's."""
        begins = self.begins
        after = begins.get(attempt + 1)
        return attempt in begins and begins[attempt].at <= at and (not after or at <= after.at)

    def _events_out_of_order(self) -> list[str]:
        numbers = [e.seq for e in self.events]
        found = [] if numbers == list(range(1, len(numbers) + 1)) else [f"events {numbers}"]
        attempts = [e.data["attempt"] for e in self.events if e.kind in _BEGINS]
        if attempts != list(range(1, self.attempt + 1)):
            found.append(f"attempts {attempts}, the job counts {self.attempt}")
        now = 0
        for event in self.events:
            if event.kind in _BEGINS:
                now = event.data["attempt"]
            elif event.kind.startswith("job.") and event.data.get("attempt", now) != now:
                found.append(f"event {event.seq}, {event.kind}: attempt {event.data['attempt']}")
        late = [b.seq for a, b in pairwise(self.events) if a.kind == "job.succeeded"]
        return found + [f"event {seq}: after the end" for seq in late]


def read(database: Database) -> list[Kept]:
    """All jobs, in order of arrival."""
    with database.reading() as connection:

        def of(table: sa.Table, job_id: str, *order: str) -> list[Any]:
            query = sa.select(table).where(table.c.job_id == job_id).order_by(*order)
            return list(connection.execute(query).all())

        return [
            Kept(
                id=job.id,
                name=job.name,
                status=job.status,
                error=job.error,
                attempt=job.attempt,
                events=[Event(e.seq, e.at, e.kind, e.data) for e in of(events, job.id, "seq")],
                trials=of(trials, job.id, "number"),
                stages=of(stages, job.id, "finished_at"),
                published=of(recommendations, job.id),
            )
            for job in connection.execute(sa.select(jobs).order_by(jobs.c.seq)).all()
        ]


def unfinished(database: Database) -> int:
    """How many jobs wait or run."""
    query = sa.select(sa.func.count()).where(jobs.c.status.in_(["queued", "running"]))
    with database.reading() as connection:
        return int(connection.scalar(query) or 0)


def held(database: Database) -> dict[str, tuple[str, int]]:
    """Who holds which job, in which attempt: {owner: (job, attempt)}."""
    query = sa.select(jobs.c.owner, jobs.c.id, jobs.c.attempt).where(jobs.c.status == "running")
    with database.reading() as connection:
        return {row.owner: (row.id, row.attempt) for row in connection.execute(query).all()}


def attempt(database: Database, job_id: str) -> int:
    """How often a job has been claimed."""
    with database.reading() as connection:
        return int(connection.scalar(sa.select(jobs.c.attempt).where(jobs.c.id == job_id)) or 0)


def newest_event(database: Database) -> float:
    """When something happened last."""
    with database.reading() as connection:
        return float(connection.scalar(sa.select(sa.func.max(events.c.at))) or 0.0)
