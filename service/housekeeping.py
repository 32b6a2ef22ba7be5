"""What nobody asks for: jobs that no worker will end, and what is kept no longer."""

import asyncio
import logging

from starlette.concurrency import run_in_threadpool

from lrtuner.store import Database, deliveries, idempotency, queue, retention
from service.settings import Settings

PAUSE_SECONDS = 15.0
_DAY_SECONDS = 86_400.0

_log = logging.getLogger(__name__)


async def keep_house(database: Database, settings: Settings, pause: float = PAUSE_SECONDS) -> None:
    """Tidy up every `pause` seconds until cancelled; several processes may do so at once."""
    while True:
        await asyncio.sleep(pause)
        try:
            await run_in_threadpool(tidy_up, database, settings.retention_days)
            await run_in_threadpool(forget_messages, database, settings.webhook_retention_days)
        except Exception as error:  # noqa: BLE001 - the next round may work: requests say why
            _log.warning("could not tidy up: %s: %s", type(error).__name__, error)


def tidy_up(database: Database, retention_days: float | None) -> None:
    """End what no worker will end, and remove old idempotency keys.

    And the evidence that is older than so many days.
    """
    with database.writing() as connection:
        queue.reap(connection)
        idempotency.forget_old(connection)
        retention.number_labels(connection)
    if retention_days is None:
        return
    with database.writing() as connection:
        older = retention_days * _DAY_SECONDS
        pruned = retention.prune(connection, older_than_seconds=older)
    if pruned:
        _log.info("removed the evidence of %d old jobs", len(pruned))


def forget_messages(database: Database, retention_days: float) -> None:
    """Remove the messages to webhooks that are older than so many days."""
    with database.writing() as connection:
        deliveries.prune(connection, older_than_seconds=retention_days * _DAY_SECONDS)
