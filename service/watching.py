"""Waiting for jobs: any number of clients, one query for all of them, no thread for any.

One task of the process looks at every job that somebody waits for, twice a second, in one short
transaction, and wakes those who wait for one that has changed. New events are read once and shared.
A stream that cannot keep up, or that begins in the past, reads what it lacks from the database,
page by page and few streams at a time: what is kept in memory belongs to the job, not to the
stream, and is bounded.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from anyio import CapacityLimiter, to_thread

from lrtuner.errors import LRTunerError
from lrtuner.store import EventRow, JobState, reading
from service.problem import ProblemError
from service.storage import Storage

TICK_SECONDS = 0.5
KEEPALIVE_SECONDS = 15.0
LONGEST_STREAM_SECONDS = 3600.0
"""Then the client has to come again, and its key is looked at again."""

RECENT_EVENTS = 200
_PAGE = 200
_READERS_AT_ONCE = 4
_RECONNECT_MS = 1000
_RECONNECT_SPREAD_MS = 4000

_log = logging.getLogger(__name__)

Encode = Callable[[EventRow], bytes]


class Feed:
    """A job that somebody watches: its state, and its newest events as they are sent.

    `recent` holds the events up to `head` without gaps.
    """

    def __init__(self, state: JobState) -> None:
        self.state = state
        self.head = state.event_seq
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=RECENT_EVENTS)
        self.watchers = 0
        self.streams = 0
        self._pulse = asyncio.Event()

    def see(self, state: JobState) -> None:
        """Take over a state that was read, unless a newer one is known."""
        if state.event_seq >= self.state.event_seq and state != self.state:
            self.state = state
            self.wake()

    def follow(self) -> None:
        """Begin to collect events: from the next one on."""
        if not self.streams:
            self.head = self.state.event_seq
            self.recent.clear()
        self.streams += 1

    def missing(self) -> range:
        """The numbers of the events to collect; too many are skipped."""
        if not self.streams:
            return range(0)
        newest = self.state.event_seq
        if newest - self.head > RECENT_EVENTS:
            self.recent.clear()
            self.head = newest
        return range(self.head + 1, newest + 1)

    def collect(self, seq: int, chunk: bytes) -> None:
        """Keep an event, if it is the next one."""
        if seq == self.head + 1:
            self.recent.append((seq, chunk))
            self.head = seq

    def held(self, after: int) -> list[tuple[int, bytes]] | None:
        """The events above `after`; None if some of them are not kept here any more."""
        if after >= self.head:
            return []
        if not self.recent or self.recent[0][0] > after + 1:
            return None
        return [entry for entry in self.recent if entry[0] > after]

    def wake(self) -> None:
        """Wake all who wait."""
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    async def changed(self, seconds: float) -> bool:
        """Wait to be woken; False if that did not happen in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._pulse.wait()
        except TimeoutError:
            return False
        return True


class Watcher:
    """Tells those who wait for jobs. Its coroutines belong to one event loop."""

    def __init__(self, storage: Storage, encode: Encode) -> None:
        self._storage = storage
        self._encode = encode
        self._feeds: dict[str, Feed] = {}
        self._looking = CapacityLimiter(1)
        self._reading = CapacityLimiter(_READERS_AT_ONCE)
        self._closing = False

    async def run(self) -> None:
        """Look at what is watched until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the next look may work: requests say why
                _log.warning("could not look at jobs: %s: %s", type(error).__name__, error)

    async def look(self) -> None:
        """Look once at every job that is watched."""
        if not self._feeds:
            return
        job_ids = list(self._feeds)
        states = await to_thread.run_sync(self._states, job_ids, limiter=self._looking)
        for job_id, state in states.items():
            if feed := self._feeds.get(job_id):
                feed.see(state)
        wanted = [(job_id, seq) for job_id, feed in self._feeds.items() for seq in feed.missing()]
        if not wanted:
            return
        found = await to_thread.run_sync(self._news, wanted, limiter=self._looking)
        for job_id, seq, chunk in found:
            if feed := self._feeds.get(job_id):
                feed.collect(seq, chunk)
        for job_id in {job_id for job_id, _, _ in found} & self._feeds.keys():
            self._feeds[job_id].wake()

    def close(self) -> None:
        """End every stream and every wait: the service shuts down."""
        self._closing = True
        for feed in self._feeds.values():
            feed.wake()

    async def change(self, job_id: str, state: JobState, seconds: float) -> None:
        """Wait until the job is in another state, at most so long."""
        await self._until(job_id, state, seconds, lambda now: now != state)

    async def finish(self, job_id: str, state: JobState, seconds: float) -> None:
        """Wait until the job has finished, at most so long."""
        await self._until(job_id, state, seconds, lambda now: now.status.is_finished)

    async def stream(self, job_id: str, state: JobState, after: int) -> AsyncGenerator[bytes]:
        """The events above `after` as server-sent events, until the job has finished."""
        yield _reconnect_after(_RECONNECT_MS)
        end = asyncio.get_running_loop().time() + LONGEST_STREAM_SECONDS
        with self._watched(job_id, state, events=True) as feed:
            while not self._closing and asyncio.get_running_loop().time() < end:
                events = feed.held(after)
                if events is None:
                    try:
                        events = await self._page(job_id, after)
                    except (LRTunerError, ProblemError):
                        break
                if events:
                    after = events[-1][0]
                    yield b"".join(chunk for _, chunk in events)
                elif feed.state.status.is_finished and after >= feed.state.event_seq:
                    yield _finished(feed.state)
                    return
                elif not await feed.changed(KEEPALIVE_SECONDS):
                    yield b": keepalive\n\n"
        # Not all at the same moment.
        yield _reconnect_after(_RECONNECT_MS + random.randrange(_RECONNECT_SPREAD_MS))

    async def _until(
        self, job_id: str, state: JobState, seconds: float, reached: Callable[[JobState], bool]
    ) -> None:
        end = asyncio.get_running_loop().time() + seconds
        with self._watched(job_id, state) as feed:
            while not (self._closing or reached(feed.state)):
                if not await feed.changed(end - asyncio.get_running_loop().time()):
                    return

    @contextmanager
    def _watched(self, job_id: str, state: JobState, *, events: bool = False) -> Iterator[Feed]:
        feed = self._feeds.setdefault(job_id, Feed(state))
        feed.see(state)
        feed.watchers += 1
        if events:
            feed.follow()
        try:
            yield feed
        finally:
            feed.watchers -= 1
            feed.streams -= events
            if not feed.watchers:
                del self._feeds[job_id]

    def _states(self, job_ids: list[str]) -> dict[str, JobState]:
        with self._storage.reading() as connection:
            return reading.job_states(connection, job_ids)

    def _news(self, wanted: list[tuple[str, int]]) -> list[tuple[str, int, bytes]]:
        with self._storage.reading() as connection:
            rows = reading.events_by_number(connection, wanted)
        return [(job_id, row.seq, self._encode(row)) for job_id, row in rows]

    async def _page(self, job_id: str, after: int) -> list[tuple[int, bytes]]:
        def read() -> list[tuple[int, bytes]]:
            with self._storage.reading() as connection:
                rows = reading.list_events(connection, job_id, after=after, limit=_PAGE)
            return [(row.seq, self._encode(row)) for row in rows]

        return await to_thread.run_sync(read, limiter=self._reading)


def server_sent(seq: int | None, kind: str, data: str) -> bytes:
    """An event on the wire; `data` is JSON in one line."""
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {kind}\ndata: {data}\n\n".encode()


def _finished(state: JobState) -> bytes:
    # Without a number: the last of the numbered ones stays the place to resume at.
    return server_sent(None, "job.finished", f'{{"status":"{state.status}"}}')


def _reconnect_after(milliseconds: int) -> bytes:
    return f"retry: {milliseconds}\n\n".encode()
