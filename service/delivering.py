"""Deliver messages to webhooks: at least once, each try under the same id.

Every API process does so, beside its requests and with threads of its own. A message that a process
has taken is left alone by the others until its lease runs out.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from prometheus_client import CollectorRegistry, Counter

from lrtuner.store import Database, deliveries, reading
from lrtuner.store.deliveries import Status, Taken
from service.addresses import networks
from service.sending import TIMEOUT_SECONDS, Answer, Sender
from service.settings import Settings
from service.signing import signed_headers
from service.webhook import message

PAUSE_SECONDS = 1.0
"""How often it is looked for messages."""

AT_ONCE = 32
"""So many messages are under way at a time, each to a receiver that may be slow."""

LEASE_SECONDS = 3 * TIMEOUT_SECONDS

DELAYS = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each try; after the last one the message is given up."""

_JITTER = 0.1
_AFTER_ERROR = 15
_LONGEST_DELAY = 86_400.0
_THREADS = 2
_GONE = 410
_THROTTLED = (429, 502, 503, 504)

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """What follows from a try: delivered, given up, or again after so many seconds."""

    status: Status
    delay_seconds: float | None = None
    gone: bool = False

    @property
    def name(self) -> str:
        """What it is counted as."""
        return "retried" if self.status == "pending" else self.status


def outcome_of(
    answer: Answer, num_tries: int, jitter: Callable[[], float] = random.random
) -> Outcome:
    """What follows from the answer to a message that was sent `num_tries` times before.

    2xx is delivered. 410, or an address that is not allowed, gives up at once. Everything else is
    tried again, after the time in `DELAYS` and up to a tenth more, so that not all come back at
    once; or after what a receiver that is overloaded asks for, if that is longer and at most a day.
    """
    if answer.status is not None and 200 <= answer.status < 300:
        return Outcome("delivered")
    if answer.refused or answer.status == _GONE:
        return Outcome("failed", gone=answer.status == _GONE)
    if num_tries + 1 >= len(DELAYS):
        return Outcome("failed")
    delay = DELAYS[num_tries + 1] * (1.0 + _JITTER * jitter())
    asked = answer.retry_after if answer.status in _THROTTLED else None
    return Outcome("pending", max(delay, min(asked or 0.0, _LONGEST_DELAY)))


def tries_counter(registry: CollectorRegistry) -> Counter:
    """Counts what became of each time that a message was sent."""
    return Counter(
        "lrtuner_webhook_tries",
        "Messages sent to webhooks, by what became of it.",
        ["outcome"],
        registry=registry,
    )


class Delivering:
    """Looks for messages that are due and sends them."""

    def __init__(
        self, database: Database, settings: Settings, tries: Counter, sender: Sender | None = None
    ) -> None:
        self._database = database
        self._settings = settings
        self._tries = tries
        self._sender = sender or Sender(networks(settings.webhook_allow))
        self._threads = CapacityLimiter(_THREADS)

    async def run(self, pause: float = PAUSE_SECONDS) -> None:
        """Go on until cancelled. What is being sent then is sent again when its lease runs out."""
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            while True:
                for taken in await self._take(AT_ONCE - len(under_way), pause):
                    under_way.add(group.create_task(self._deliver(taken)))
                if under_way:
                    first = asyncio.FIRST_COMPLETED
                    _, under_way = await asyncio.wait(under_way, timeout=pause, return_when=first)
                else:
                    await asyncio.sleep(pause)

    async def _take(self, limit: int, pause: float) -> list[Taken]:
        try:
            return await self._in_thread(lambda: self._taken(limit)) if limit else []
        except Exception as error:  # noqa: BLE001 - the next look may work: requests say why
            _log.warning("could not look for messages: %s: %s", type(error).__name__, error)
            await asyncio.sleep(_AFTER_ERROR * pause)
            return []

    def _taken(self, limit: int) -> list[Taken]:
        with self._database.reading() as connection:
            if not deliveries.is_due(connection):  # then the one writer of SQLite is left alone
                return []
        with self._database.writing() as connection:
            return deliveries.take(connection, limit=limit, lease_seconds=LEASE_SECONDS)

    async def _deliver(self, taken: Taken) -> None:
        try:
            answer = await self._send(taken)
            outcome = outcome_of(answer, taken.num_tries)
            self._tries.labels("refused" if answer.refused else outcome.name).inc()
            _tell(taken, answer, outcome)
            await self._in_thread(lambda: self._record(taken, answer, outcome))
        except Exception:  # noqa: BLE001 - the others are to be sent nevertheless
            _log.exception("could not deliver %s; its lease runs out", taken.id)

    async def _send(self, taken: Taken) -> Answer:
        own = self._settings.webhook_secret
        secrets = taken.secret or (own.get_secret_value() if own else None)
        if secrets is None:
            return Answer(0.0, error="nothing to sign it with: LRTUNER_WEBHOOK_SECRET is not set")
        body = await self._in_thread(lambda: self._body(taken))
        headers = signed_headers(secrets, taken.id, int(time.time()), body)
        return await self._sender.post(taken.url, headers, body)

    def _body(self, taken: Taken) -> bytes:
        job, published = None, None
        if taken.job_id is not None:
            with self._database.reading() as connection:
                job = reading.get_job(connection, taken.job_id)
                published = reading.get_recommendation(connection, taken.job_id)
        sent = message(taken.event, taken.created_at, job, published, self._settings.public_url)
        return sent.model_dump_json().encode()

    def _record(self, taken: Taken, answer: Answer, outcome: Outcome) -> None:
        tried = {
            "status": answer.status,
            "seconds": round(answer.seconds, 3),
            "excerpt": answer.excerpt,
            "error": answer.error,
        }
        with self._database.writing() as connection:
            deliveries.record(
                connection,
                taken,
                tried,
                status=outcome.status,
                delay_seconds=outcome.delay_seconds,
                forget_webhook=outcome.gone,
            )

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        thread = asyncio.ensure_future(to_thread.run_sync(work, limiter=self._threads))
        try:
            return await asyncio.shield(thread)
        finally:
            await asyncio.wait([thread])  # also when cancelled: it is within a transaction


def _tell(taken: Taken, answer: Answer, outcome: Outcome) -> None:
    """One line for the log; of the address the host alone, for the rest may be a secret."""
    host = urlsplit(taken.url).hostname
    level = logging.INFO if outcome.status == "delivered" else logging.WARNING
    reason = answer.error or f"status {answer.status}"
    _log.log(level, "%s (%s) to %s: %s, %s", taken.id, taken.event, host, reason, outcome.name)
