"""The health check of a worker: what it asks, and what it makes of the answer."""

import threading
import time

import pytest
from prometheus_client import start_http_server

from worker import health
from worker.loop import Supervisor, Worker
from worker.monitoring import Meters
from worker.settings import Settings


@pytest.fixture
def meters():
    """Those of a worker whose metrics are served."""
    meters = Meters()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=meters.registry)
    meters.port = server.server_port  # type: ignore[attr-defined]
    yield meters
    server.shutdown()
    server.server_close()
    thread.join()


def problem(port):
    return health.problem({"LRTUNER_METRICS_PORT": str(port)})


def test_a_worker_whose_database_answers(meters, monkeypatch, capsys):
    meters.database_seconds.set_to_current_time()
    assert problem(meters.port) is None
    monkeypatch.setenv("LRTUNER_METRICS_PORT", str(meters.port))
    assert health.main() == 0
    assert capsys.readouterr().out == "ok\n"


def test_a_worker_that_has_been_cut_off(meters):
    meters.database_seconds.set(time.time() - 61)
    assert problem(meters.port) == "the database has not answered this worker for 61 s"


def test_a_worker_that_never_reached_its_database(meters):
    assert "has not answered" in problem(meters.port)


def test_an_idle_look_and_a_heartbeat_are_answers(store):
    worker = Worker(store.database, Settings(device="cpu"), threading.Event())

    def age():
        return time.time() - worker.meters.registry.get_sample_value(health.METRIC)

    assert age() > 1e6
    assert not worker.work_once()
    assert age() < health.LONGEST_SILENCE_SECONDS
    store.enqueue()
    supervisor = Supervisor(worker, store.claim())
    worker.meters.database_seconds.set(0.0)
    supervisor._heartbeat()
    assert age() < health.LONGEST_SILENCE_SECONDS


def test_no_worker(monkeypatch, capsys):
    assert "does not answer" in problem(1)
    monkeypatch.delenv("LRTUNER_METRICS_PORT", raising=False)
    assert health.main() == 1
    assert "LRTUNER_METRICS_PORT is not set" in capsys.readouterr().out
