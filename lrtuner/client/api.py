"""The calls of the API, one method each, and waiting for a job."""

import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from lrtuner.client.answers import (
    Answer,
    Dataset,
    Event,
    EventPage,
    Job,
    Page,
    Project,
    Submitted,
)
from lrtuner.client.errors import ProblemError, WaitTimeoutError
from lrtuner.client.events import blocks, event_of
from lrtuner.client.transport import DEFAULT_URL, Transport
from lrtuner.lifecycle import JobStatus

PATIENCE_SECONDS = 6.0  # more than the service's usual Retry-After
WAIT_PATIENCE_SECONDS = 60.0
PAGE_SIZE = 100

_CHUNK_BYTES = 256 * 1024

_FIRST_POLL, _LONGEST_POLL = 0.2, 2.0
_LONG_POLL_SECONDS = 20.0
_SILENCE_SECONDS = 20.0  # the service says something every 15


Item = TypeVar("Item", bound=Answer)


class Client:
    """Talks to one service. Use it as a context manager, or call `close`.

    Args:
        url: where the service listens.
        api_key: sent as a bearer token, and shown nowhere.
        timeout: seconds that one answer may take.
        patience: seconds for which a call is repeated while the service is away or busy; `wait` has
            more of it.
        options: further arguments of `Transport`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        timeout: float = 30.0,
        *,
        patience: float = PATIENCE_SECONDS,
        **options: Any,
    ) -> None:
        self._transport = Transport(url, api_key, timeout, patience=patience, **options)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> Self:
        """The client that `LRTUNER_URL` and `LRTUNER_API_KEY` describe."""
        url = environ.get("LRTUNER_URL") or DEFAULT_URL
        return cls(url, environ.get("LRTUNER_API_KEY") or None, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the service listens, without credentials."""
        return self._transport.url

    def close(self) -> None:
        """Close the connections."""
        self._transport.http.close()

    def submit(self, spec: Mapping[str, Any], *, use_cache: bool = True) -> Submitted:
        """Submit a job. One call makes one job, however often it has to be repeated.

        With `use_cache` the answer may be a job that has answered the same question before.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
        # ASCII, so that the service and not an encoder here judges strange characters.
        content = json.dumps(dict(spec), allow_nan=False).encode()
        sent: dict[str, Any] = {"content": content, "headers": headers}
        if not use_cache:
            sent["params"] = {"cache": "false"}
        response = self._transport.request("POST", "/v1/jobs", **sent)
        job = self._transport.understood(Submitted, response)
        cached = response.headers.get("X-Cache", "") == "hit"
        return job.model_copy(update={"cached": cached})

    def job(self, job_id: str) -> Job:
        """The job as it stands."""
        return self._transport.read(Job, "GET", _path(job_id))

    def jobs(
        self,
        status: Sequence[JobStatus] = (),
        limit: int = 20,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Job]:
        """The newest `limit` jobs in one of these states, of this name and with these labels."""
        wanted = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        if name is not None:
            wanted["name"] = name
        states = [str(each) for each in status]
        return self._newest(Page[Job], "/v1/jobs", limit, status=states, **wanted)

    def events(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """The events with a number above `after`, oldest first, up to the newest."""
        return self._events(job_id, after, limit=None)

    def cancel(self, job_id: str) -> Job:
        """Ask the job to stop."""
        return self._transport.read(Job, "POST", _path(job_id, "cancel"))

    def recommendation(self, job_id: str, format: str = "json") -> bytes:
        """The recommended schedule in a download format, byte by byte as published."""
        path = _path(job_id, "recommendation")
        return self._transport.request("GET", path, params={"format": format}).content

    def latest(
        self,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        format: str = "json",
    ) -> bytes:
        """The recommendation of the newest job with this name and these labels that succeeded."""
        params = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        params |= {"format": format} | ({} if name is None else {"name": name})
        path = "/v1/recommendations/latest"
        return self._transport.request("GET", path, params=params).content

    def upload(
        self, path: Path, *, format: str | None = None, target: str | None = None
    ) -> Dataset:
        """The dataset of a file's content; it is sent only if the service does not have it.

        So an upload that broke off is simply tried again.
        """
        digest = _sha256(path)
        try:
            return self.dataset(f"sha256:{digest}")
        except ProblemError as error:
            if error.problem.status != 404:
                raise
        told = {"filename": path.name, "format": format, "target": target, "sha256": digest}
        return self._transport.read(Dataset, "POST", "/v1/datasets", **_file(path, told))

    def dataset(self, dataset_id: str) -> Dataset:
        """The upload, as inspected when it arrived."""
        return self._transport.read(Dataset, "GET", f"/v1/datasets/{quote(dataset_id, safe='')}")

    def datasets(self, limit: int = 20) -> list[Dataset]:
        """The newest `limit` uploads."""
        return self._newest(Page[Dataset], "/v1/datasets", limit)

    def has_code(self, code_id: str) -> bool:
        """Whether the service has a project of code."""
        try:
            self._transport.request("HEAD", _code_path(code_id))
        except ProblemError as error:
            if error.problem.status == 404:
                return False
            raise
        return True

    def upload_code(self, archive: Path, filename: str | None = None) -> Project:
        """The project of a zip file's content; sending it again changes nothing.

        So an upload that broke off is simply tried again.
        """
        told = {"filename": filename, "sha256": _sha256(archive)}
        return self._transport.read(Project, "POST", "/v1/code", **_file(archive, told))

    def code(self, code_id: str) -> Project:
        """The project, with its files."""
        return self._transport.read(Project, "GET", _code_path(code_id))

    def list_code(self, limit: int = 20) -> list[Project]:
        """The newest `limit` projects, without their files."""
        return self._newest(Page[Project], "/v1/code", limit)

    def wait(
        self,
        job_id: str,
        timeout: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        on_job: Callable[[Job], None] | None = None,
    ) -> Job:
        """Wait until the job has finished, in whatever way; the job then.

        It follows the job's event stream, and one that breaks off where it did; where there is
        none, or a proxy holds it back, it asks again and again.

        Args:
            job_id: which job.
            timeout: seconds; None waits as long as it takes, 0 looks once.
            on_event: called with every event, those of the time before included.
            on_job: called with the job after every look at it.

        Raises:
            WaitTimeoutError: it has not finished in time.
            ServerUnreachableError: nobody has answered for a minute, or until the timeout.
        """
        clock = self._transport.clock
        start, seen, known, streamed = clock(), 0, _Known(), True
        end = math.inf if timeout is None else start + timeout

        def tell(event: Event) -> None:
            nonlocal seen
            if event.seq > seen:
                seen = event.seq
                if on_event:
                    on_event(event)

        while True:
            looked_at = clock()
            # The job first: the event that finished it is then among those read after it.
            job = self._look(job_id, known, end, wait=not streamed)
            for event in self._events(job_id, seen, self._limit(end)):
                tell(event)
            if on_job:
                on_job(job)
            if job.status.is_finished:
                return job
            now = clock()
            if now >= end:
                raise WaitTimeoutError(job, now - start if timeout is None else timeout)
            if streamed:
                streamed = self._follow(job_id, seen, end, tell, on_job)
            pause = min(max(_FIRST_POLL, (now - start) / 10), _LONGEST_POLL)
            rest = min(pause, end - now) - (clock() - looked_at)
            if rest > 0:
                self._transport.sleep(rest)

    def _limit(self, end: float) -> float:
        return max(min(WAIT_PATIENCE_SECONDS, end - self._transport.clock()), 0.0)

    def _look(self, job_id: str, known: "_Known", end: float, *, wait: bool = False) -> Job:
        """The job; with `wait`, once it is another one than is known, or after a while."""
        limit = self._limit(end)
        seconds = int(min(_LONG_POLL_SECONDS, limit)) if wait and known.job else 0
        asked: dict[str, Any] = {}
        if seconds:
            asked = {"params": {"wait": seconds}, "headers": {"If-None-Match": known.etag}}
        response = self._transport.request("GET", _path(job_id), limit=limit, **asked)
        if response.status_code == 304 and known.job:
            return known.job
        known.job = self._transport.understood(Job, response)
        known.etag = response.headers.get("ETag", "")
        return known.job

    def _follow(
        self,
        job_id: str,
        seen: int,
        end: float,
        tell: Callable[[Event], None],
        on_job: Callable[[Job], None] | None,
    ) -> bool:
        """Tell events as they come until the stream ends; False if none can be had."""
        clock, lively = self._transport.clock, False
        timeout = max(min(_SILENCE_SECONDS, end - clock()), 1.0)
        headers = {"Last-Event-ID": str(seen)}
        shown_at = clock()
        try:
            with self._transport.stream(_path(job_id, "events"), headers, timeout) as pieces:
                for block in blocks(pieces or ()):
                    lively = True
                    if event := event_of(block):
                        tell(event)
                    if clock() >= end:
                        break
                    if on_job and clock() - shown_at >= _LONGEST_POLL:
                        on_job(self._look(job_id, _Known(), end))
                        shown_at = clock()
        except (httpx.RequestError, ValueError, KeyError):
            pass  # what was missed is read when the job is looked at next
        return lively

    def _newest(self, kind: type[Page[Item]], path: str, limit: int, **params: Any) -> list[Item]:
        """The first `limit` items of a list, page by page."""
        found: list[Item] = []
        while len(found) < limit:
            params["limit"] = min(limit - len(found), PAGE_SIZE)
            page = self._transport.read(kind, "GET", path, params=params)
            found += page.items
            if not page.has_more or not page.items:
                break
            params["after"] = page.next_after
        return found

    def _events(self, job_id: str, after: int, limit: float | None) -> Iterator[Event]:
        path = _path(job_id, "events")
        while True:
            params = {"after": after, "limit": PAGE_SIZE}
            page = self._transport.read(EventPage, "GET", path, params=params, limit=limit)
            yield from page.items
            if not page.has_more or not page.items:
                return
            after = page.items[-1].seq


@dataclass
class _Known:
    """The job as it was seen last."""

    job: Job | None = None
    etag: str = ""


def _path(job_id: str, *rest: str) -> str:
    return "/".join(["/v1/jobs", quote(job_id, safe=""), *rest])


def _code_path(code_id: str) -> str:
    return f"/v1/code/{quote(code_id, safe='')}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(path: Path, told: Mapping[str, str | None]) -> dict[str, Any]:
    """What a request needs whose body is a file; `told` are its parameters, as far as given."""
    return {
        "content": _FileBody(path),
        "params": {name: value for name, value in told.items() if value is not None},
        "headers": {"Content-Length": str(path.stat().st_size)},
    }


class _FileBody:
    """A file as the body of a request, from its beginning each time that it is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
