"""What webhooks are told, and what became of it, as the API shows it."""

import json
from typing import Any

from pydantic import BaseModel, Field

from lrtuner.store import JobRow
from lrtuner.store.deliveries import DeliveryRow, Status
from lrtuner.webhook import Receiver
from service.addresses import RefusedAddressError, check_host, networks
from service.job import Links, job_links, job_problem
from service.pages import utc, utc_or_none
from service.problem import field_problem
from service.settings import Settings


class JobSummary(BaseModel):
    """A job as it was when the event happened."""

    id: str
    status: str
    name: str | None
    metadata: dict[str, str]
    queued_at: str | None
    started_at: str | None
    finished_at: str | None = Field(description="Null while it runs.")
    error: dict[str, Any] | None = Field(description="Why it failed or expired, as a problem.")
    verdict: dict[str, Any] | None = Field(
        description="Of a job that succeeded: the verdict of its recommendation."
    )
    links: Links


class Message(BaseModel):
    """What is sent to a webhook, signed as Standard Webhooks defines it."""

    type: str = Field(description="The event, such as `job.succeeded`.")
    timestamp: str = Field(description="When it happened.")
    data: JobSummary | None = Field(description="Null in a test.")


class Try(BaseModel):
    """One time that it was sent."""

    at: str
    status: int | None = Field(description="What the receiver answered; null if nothing.")
    seconds: float
    excerpt: str | None = Field(description="How the body of the answer begins.")
    error: str | None = Field(description="Why there was no answer.")


class DeliveryLinks(BaseModel):
    """Where the rest is."""

    self: str
    job: str | None
    redeliver: str


class Delivery(BaseModel):
    """A message to a webhook, and what became of it."""

    id: str = Field(description="The `webhook-id`: the same each time that it is sent.")
    job_id: str | None = Field(description="Null for a test.")
    event: str
    url: str
    status: Status = Field(description="`failed`: it is not sent again unless you ask for it.")
    created_at: str
    next_try_at: str | None = Field(description="When it is sent (again).")
    tries: list[Try] = Field(description="The newest last; of many the newest 20.")
    links: DeliveryLinks


def check_receiver(receiver: Receiver, settings: Settings, within: str = "") -> None:
    """Refuse what could never be delivered; names are resolved, and checked, when it is sent.

    Args:
        within: what the names of its fields start with.

    Raises:
        ProblemError: it leads to an address that is not public, or nothing is there to sign with.
    """
    try:
        check_host(receiver.url, networks(settings.webhook_allow))
    except RefusedAddressError:
        told = "the address is not public, and the operator has not named it in"
        reason = f"{told} LRTUNER_WEBHOOK_ALLOW"
        raise field_problem("invalid_input", f"{within}url", reason) from None
    if receiver.secret is None and settings.webhook_secret is None:
        told = "missing; this service has no LRTUNER_WEBHOOK_SECRET to sign messages with"
        raise field_problem("invalid_input", f"{within}secret", told)


def message(event: str, at: float, job: JobRow | None, published: str | None, url: str) -> Message:
    """What is told of an event. It is the same whenever it is sent: a finished job stays as it is.

    Args:
        at: when it happened, epoch seconds.
        published: the recommendation of a job that succeeded.
        url: what links start with.
    """
    status = event.removeprefix("job.")
    if job is None:
        return Message(type=event, timestamp=utc(at), data=None)
    finished_at = utc_or_none(job.timestamps.get(f"{status}_at")) if status != "started" else None
    summary = JobSummary(
        id=job.id,
        status="running" if status == "started" else status,
        name=job.name,
        metadata=job.metadata,
        queued_at=utc_or_none(job.timestamps["queued_at"]),
        started_at=utc_or_none(job.timestamps["started_at"]),
        finished_at=finished_at,
        error=job_problem(job.error) if finished_at and job.error else None,
        verdict=json.loads(published).get("verdict") if finished_at and published else None,
        links=job_links(job.id, url),
    )
    return Message(type=event, timestamp=utc(at), data=summary)


def delivery_resource(row: DeliveryRow, public_url: str) -> Delivery:
    """The delivery as the API shows it."""
    own = f"{public_url}/v1/webhook-deliveries/{row.id}"
    return Delivery(
        id=row.id,
        job_id=row.job_id,
        event=row.event,
        url=row.url,
        status=row.status,
        created_at=utc(row.created_at),
        next_try_at=utc_or_none(row.next_try_at),
        tries=[Try(**{**tried, "at": utc(tried["at"])}) for tried in row.tries],
        links=DeliveryLinks(
            self=own,
            job=None if row.job_id is None else f"{public_url}/v1/jobs/{row.job_id}",
            redeliver=f"{own}/redeliver",
        ),
    )
