"""What every request asks the database, remembered: keys for a moment, whose a job is for good."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lrtuner.store import keys, reading
from lrtuner.store.keys import KeyRow
from service.storage import Storage

KEY_SECONDS = 1.0
"""How long a key that was revoked, or a service that got its first one, may go on as before."""

_MOST_JOBS = 10_000


@dataclass(frozen=True)
class Standing:
    """What is known of a key, or of there being none.

    Attributes:
        key: None where none was sent, or none of that id is known.
        is_open: whether there never was a key.
    """

    key: KeyRow | None
    is_open: bool


class Remembered:
    """Asks the database for what it does not remember.

    Only what is there is remembered, so that guessing fills no memory, and asking for a job of
    others always takes as long as asking for one that does not exist.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = KEY_SECONDS if seconds is None else seconds
        self._storage = storage
        self._clock = clock
        self._standings: dict[str | None, tuple[float, Standing]] = {}
        self._jobs: set[tuple[str, str]] = set()

    def standing(self, key_id: str | None) -> Standing | None:
        """What was found out of this key a moment ago; None if it has to be looked up."""
        end, standing = self._standings.get(key_id, (0.0, None))
        return standing if self._clock() < end else None

    def look_up(self, key_id: str | None) -> Standing:
        """What the database says."""
        asked_at = self._clock()
        with self._storage.reading() as connection:
            key = keys.find_key(connection, key_id) if key_id else None
            standing = Standing(key, is_open=key is None and not keys.has_keys(connection))
        if key is not None or (key_id is None and standing.is_open):
            self._standings[key_id] = (asked_at + self.seconds, standing)
        return standing

    def touch(self, key_id: str) -> None:
        """Write down that a key is used now, and find that out when it is asked for next."""
        with self._storage.writing() as connection:
            keys.touch_key(connection, key_id)
        self._standings.pop(key_id, None)

    def is_own(self, team: str, job_id: str) -> bool:
        """Whether a job is known to be of that team; it stays so."""
        return (team, job_id) in self._jobs

    def require_own(self, team: str, job_id: str) -> None:
        """Make sure that a job is one of a team's.

        Raises:
            NotFoundError: it is not, or there is none of that id: nothing tells which.
        """
        with self._storage.reading() as connection:
            reading.require_job(connection, job_id, team=team)
        if len(self._jobs) >= _MOST_JOBS:
            self._jobs.clear()
        self._jobs.add((team, job_id))
