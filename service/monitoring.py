"""What Prometheus reads of the API: requests, and what stands in the queue."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lrtuner.errors import LRTunerError
from lrtuner.lifecycle import JobStatus
from lrtuner.store import deliveries, reading
from service.problem import ProblemError
from service.storage import Storage

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_UNMATCHED = "unmatched"


class QueueCollector:
    """Jobs by status and how long the oldest one waits: read from the database at each scrape."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `prometheus_client`. Of a database that cannot be read only that is told."""
        up = GaugeMetricFamily(
            "lrtuner_database_up", "Whether the database answers and is migrated."
        )
        try:
            with self._storage.reading() as connection:
                queue = reading.queue_state(connection)
                pending = deliveries.count_pending(connection)
        except (LRTunerError, ProblemError):
            up.add_metric([], 0.0)
            yield up
            return
        up.add_metric([], 1.0)
        yield up
        jobs = GaugeMetricFamily("lrtuner_jobs", "Jobs by status.", labels=["status"])
        for status in JobStatus:
            jobs.add_metric([status.value], queue.jobs.get(status, 0))
        yield jobs
        age = "Seconds that the job which waits longest has been ready to run; 0 if none waits."
        yield GaugeMetricFamily("lrtuner_queue_age_seconds", age, value=queue.oldest_seconds)
        told = "Messages to webhooks that are still to be delivered."
        yield GaugeMetricFamily("lrtuner_webhook_pending", told, value=pending)


class HttpMetrics:
    """Counts and times every request, by method, route (never its parameters) and status."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._requests = Counter(
            "lrtuner_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lrtuner_http_request_seconds",
            "Seconds until the answer was sent in full.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), "none"

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            method = scope["method"] if route != _UNMATCHED else "any"  # anybody may send anything
            self._requests.labels(method, route, status).inc()
            self._seconds.labels(method, route).observe(time.perf_counter() - began)
