"""What an attempt writes down while it works. Every write is fenced."""

from typing import Any

import sqlalchemy as sa

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.lifecycle import Stage, TrialState
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import jobs, stages, trials
from lrtuner.store.transitions import Claim, fenced_update, write_event


def fence(connection: sa.Connection, claim: Claim) -> None:
    """Make sure that `claim` still owns its job until this transaction ends, and renew its lease.

    Raises:
        LeaseLostError: the job is not running, or runs as another attempt.
    """
    fenced_update(connection, claim)


def set_progress(connection: sa.Connection, claim: Claim, *, progress: dict[str, Any]) -> None:
    """Replace the job's progress document."""
    fenced_update(connection, claim, progress=progress)


def add_event(
    connection: sa.Connection,
    claim: Claim,
    *,
    kind: str,
    phase: str | None,
    message: str,
    data: dict[str, Any],
) -> None:
    """Append an event under the job's next number."""
    seq = fenced_update(connection, claim, event_seq=jobs.c.event_seq + 1)
    write_event(connection, claim.job_id, seq, kind=kind, phase=phase, message=message, data=data)


def start_trial(
    connection: sa.Connection, claim: Claim, *, number: int, phase: str, document: dict[str, Any]
) -> None:
    """Record that trial `number` is about to run; one left running by a dead attempt is taken over.

    Raises:
        ConflictError: the trial is finished.
    """
    fence(connection, claim)
    values = {
        "attempt": claim.attempt,
        "phase": phase,
        "document": document,
        "started_at": DatabaseClock(),
    }
    match _trial_state(connection, claim.job_id, number):
        case None:
            values |= {"job_id": claim.job_id, "number": number, "state": TrialState.RUNNING}
            connection.execute(sa.insert(trials).values(values))
        case TrialState.RUNNING:
            connection.execute(
                sa.update(trials).where(*_is_trial(claim.job_id, number)).values(values)
            )
        case state:
            raise ConflictError(f"trial {number} is {state} and cannot start again")


def finish_trial(
    connection: sa.Connection,
    claim: Claim,
    *,
    number: int,
    state: TrialState,
    value: float | None,
    cost: float,
    document: dict[str, Any],
) -> None:
    """Store the result of a trial that this attempt started; it can never change again.

    Args:
        value: the metric, None when there is none.
        cost: what it is charged with, in full-training equivalents.

    Raises:
        NotFoundError: the trial was never started.
        ConflictError: it is finished, or was started by an earlier attempt.
    """
    if not state.is_finished:
        raise ValueError(f"a trial cannot finish as {state}")
    fence(connection, claim)
    statement = (
        sa.update(trials)
        .where(
            *_is_trial(claim.job_id, number),
            trials.c.state == TrialState.RUNNING,
            trials.c.attempt == claim.attempt,
        )
        .values(state=state, value=value, cost=cost, document=document, finished_at=DatabaseClock())
        .returning(trials.c.number)
    )
    if connection.execute(statement).scalar_one_or_none() is not None:
        return
    found = _trial_state(connection, claim.job_id, number)
    if found is None:
        raise NotFoundError(f"trial {number} was never started")
    if found.is_finished:
        raise ConflictError(f"trial {number} is {found} already")
    raise ConflictError(f"trial {number} was not started by attempt {claim.attempt}")


def finish_stage(
    connection: sa.Connection, claim: Claim, *, stage: Stage, result: dict[str, Any]
) -> None:
    """Store the result of a stage, once per job.

    Raises:
        ConflictError: this or an earlier attempt has finished the stage.
    """
    fence(connection, claim)
    found = connection.execute(
        sa.select(stages.c.attempt).where(stages.c.job_id == claim.job_id, stages.c.stage == stage)
    ).scalar_one_or_none()
    if found is not None:
        raise ConflictError(f"stage {stage} was finished by attempt {found}")
    connection.execute(
        sa.insert(stages).values(
            job_id=claim.job_id,
            stage=stage,
            attempt=claim.attempt,
            result=result,
            finished_at=DatabaseClock(),
        )
    )


def _trial_state(connection: sa.Connection, job_id: str, number: int) -> TrialState | None:
    # Only ever called behind the fence: the job row is locked, so the answer stays true.
    state = connection.execute(
        sa.select(trials.c.state).where(*_is_trial(job_id, number))
    ).scalar_one_or_none()
    return None if state is None else TrialState(state)


def _is_trial(job_id: str, number: int) -> list[sa.ColumnElement[bool]]:
    return [trials.c.job_id == job_id, trials.c.number == number]
