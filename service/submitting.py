"""What a submit comes to: a new job, the one that this request has made before, or an answer.

In one transaction, so that a request which is sent twice at once makes one job. Two *different*
requests with the same question do not wait for each other: both run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lrtuner.job import JobSpec, Priority
from lrtuner.jsontext import digest
from lrtuner.question import question_of
from lrtuner.store import JobRow, answers, deliveries, idempotency, queue, reading
from lrtuner.store.quotas import Quotas, admit
from service.access import Caller
from service.problem import ProblemError

_PRIORITIES: dict[Priority, int] = {"high": 50, "normal": 100, "low": 150}


@dataclass(frozen=True)
class Submit:
    """A job as it was sent.

    Attributes:
        caller: who sent it.
        quotas: what the caller may ask for.
        key: its idempotency key, if it has one.
        use_cache: whether a job that has answered the same question will do.
        max_attempts: after so many lost attempts it fails.
    """

    spec: JobSpec
    caller: Caller
    quotas: Quotas
    key: str | None = None
    use_cache: bool = True
    max_attempts: int = 3


@dataclass(frozen=True)
class Submitted:
    """The job that answers a submit.

    Attributes:
        cached: it was there already, with the answer.
        replayed: the same request came before, and this is what it was answered with.
    """

    job: JobRow
    cached: bool = False
    replayed: bool = False


def submit(connection: Any, sent: Submit, settled: Callable[[JobSpec], JobSpec]) -> Submitted:
    """Answer a submit, within a transaction that is written.

    Args:
        connection: of the transaction.
        sent: the job.
        settled: refuses a job that cannot be run, and spells out what is known of its data. It is
            not asked about what came before.

    Raises:
        ProblemError: the key was used for another job; or whatever `settled` raises.
    """
    if sent.key is None:
        return _answer(connection, sent, settled(sent.spec))
    body = digest(sent.spec.model_dump(mode="json", by_alias=True, exclude_unset=True))
    use = {"caller": sent.caller.key_id or "", "key": sent.key}
    earlier = idempotency.reserve(connection, **use, body=body)
    if earlier is not None:
        return _again(connection, earlier, body)
    answer = _answer(connection, sent, settled(sent.spec))
    idempotency.settle(connection, **use, job_id=answer.job.id, cached=answer.cached)
    return answer


def _again(connection: Any, earlier: idempotency.Earlier, body: str) -> Submitted:
    if earlier.body != body:
        raise ProblemError(
            "idempotency_key_reused",
            f"This Idempotency-Key stands for job {earlier.job_id}, which was sent with another "
            "body. Send a new key with a new job; a key is kept for 24 hours.",
        )
    job = reading.get_job(connection, earlier.job_id)
    return Submitted(job, cached=earlier.cached, replayed=True)


def _answer(connection: Any, sent: Submit, spec: JobSpec) -> Submitted:
    question = question_of(spec)
    # whoever asks to be told waits for the message, not for the answer
    if question is not None and sent.use_cache and sent.spec.webhook is None:
        answered = answers.find(connection, question, team=sent.caller.sees)
        if answered is not None:
            return Submitted(reading.get_job(connection, answered), cached=True)
    admit(connection, sent.caller.key_id, sent.quotas)
    job_id = queue.enqueue(
        connection,
        spec=spec.model_dump(mode="json", by_alias=True),
        name=spec.name,
        metadata=spec.metadata,
        priority=_PRIORITIES[spec.priority],
        max_attempts=sent.max_attempts,
        key_id=sent.caller.key_id,
        team=sent.caller.team,
        max_running=sent.quotas.max_running,
        deadline_seconds=spec.deadline_minutes and 60.0 * spec.deadline_minutes,
    )
    if sent.spec.webhook:
        deliveries.subscribe(connection, job_id, sent.spec.webhook)
    if question is not None:
        answers.remember(connection, job_id, question)
    return Submitted(reading.get_job(connection, job_id))
