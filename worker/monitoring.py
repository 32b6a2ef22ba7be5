"""What Prometheus reads of a worker: its jobs, its runs, and the leases that it lost."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)


class Meters:
    """The counters of one worker process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.busy = Gauge(
            "lrtuner_worker_busy", "Whether a job is being worked on.", registry=self.registry
        )
        self.database_seconds = Gauge(
            "lrtuner_worker_database_seconds",
            "When the database last answered this worker, as epoch seconds.",
            registry=self.registry,
        )
        self.attempts = Counter(
            "lrtuner_worker_attempts",
            "Attempts by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        self.lease_expiries = Counter(
            "lrtuner_worker_lease_expiries",
            "Jobs taken over from a worker that had been silent for too long.",
            registry=self.registry,
        )
        self.trials = Counter(
            "lrtuner_worker_trials",
            "Training runs by how they ended.",
            ["state"],
            registry=self.registry,
        )
        self.trial_seconds = Histogram(
            "lrtuner_worker_trial_seconds",
            "Seconds that a training run took.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def serve(self, port: int, address: str) -> None:
        """Answer at `http://ADDRESS:PORT/metrics`, in a thread of its own."""
        start_http_server(port, addr=address, registry=self.registry)
