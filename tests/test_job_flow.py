"""The whole way: submit over HTTP, wait, download, load, train, and find the promised rates."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import torch
import uvicorn

import lrtuner
from lrtuner.evidence import rates_digest
from lrtuner.integrations.torch import scheduler
from service.app import create_app
from service.settings import Settings as ServiceSettings
from tests.conformance.dataset_samples import SAMPLES
from tests.worker.conftest import SMALL
from tests.worker.test_loop import until, worker_of, working


@contextmanager
def serving(database_url: str, **settings) -> Iterator[str]:
    app = create_app(ServiceSettings(database_url=database_url, **settings), on_loopback=True)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def trained_rates(schedule: lrtuner.Schedule) -> list[float]:
    """Train a torch model for the schedule's length; the rates its updates were made with."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=123.0, momentum=0.9)
    native = scheduler(optimizer, schedule, total_steps=schedule.total_steps)
    used: list[float] = []
    optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    inputs = torch.randn(32, 4)
    for _ in range(schedule.total_steps):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
        native.step()
    return used


def test_post_wait_download_load_train(database, database_url, tmp_path):
    with (
        serving(database_url) as url,
        working(worker_of(database, database_url)),
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        answer = client.post("/v1/jobs", json=SMALL)
        assert answer.status_code == 202
        job_url = answer.headers["Location"]
        assert client.get(f"{job_url}/recommendation").status_code == 409

        job = until(lambda: (j := client.get(job_url).json())["finished_at"] is not None and j)
        assert job["status"] == "succeeded", job["error"]

        path = tmp_path / "schedule.json"
        path.write_bytes(client.get(f"{job_url}/recommendation?format=json").content)
        schedule = lrtuner.load(path)
        used = trained_rates(schedule)
        assert used == schedule.values().tolist()

        # the rates of the runs that recommended it, as their optimizers had them
        page = client.get(f"{job_url}/trials", params={"limit": 200}).json()
        assert page["has_more"] is False
        mine = [
            trial
            for trial in page["items"]
            if trial["state"] == "complete" and trial["rates_digest"] == rates_digest(used)
        ]
        assert mine
        assert {trial["purpose"] for trial in mine} & {"final", "recommended", "reference"}
        assert lrtuner.load(mine[0]["schedule"]).values().tolist() == used

        namespace = {}
        exec(client.get(f"{job_url}/recommendation?format=torch").text, namespace)
        learning_rate = namespace["learning_rate"]
        assert callable(learning_rate)
        assert [learning_rate(t) for t in range(40)] == pytest.approx(used, rel=1e-14, abs=1e-17)

        table = client.get(f"{job_url}/recommendation?format=csv").text.splitlines()[1:]
        assert [float(row.split(",")[1]) for row in table] == used

        found = client.get(f"{job_url}/range-test").json()
        assert found["sweeps"]
        report = client.get(f"{job_url}/report.json").json()
        assert report["reproduction"]["environment"]["torch"] == torch.__version__
        page = client.get(f"{job_url}/report.html")
        assert (page.status_code, torch.__version__ in page.text) == (200, True)
        kinds = [event["kind"] for event in client.get(f"{job_url}/events").json()["items"]]
        assert kinds[0] == "job.queued"
        assert json.loads(path.read_text())["provenance"]["job_id"] == job["id"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_upload_and_train_on_it(database, database_url, tmp_path, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(tmp_path))  # the folder that both sides share
    with (
        serving(database_url, data_dir=tmp_path) as url,
        working(worker_of(database, database_url)),
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        params = {"filename": "colours.csv"}
        uploaded = client.post("/v1/datasets", content=SAMPLES["csv"](), params=params)
        assert uploaded.status_code == 201
        dataset = {"source": "upload", "id": uploaded.json()["id"]}
        changes = {"dataset": dataset, "training": {"batch_size": 8, "steps": 30}}
        changes["search"] = {"mode": "range_test", "budget": {"full_runs": 2}}
        changes["range_test"] = {"num_steps": 20, "num_seeds": 1, "probes": []}
        answer = client.post("/v1/jobs", json=SMALL | changes)
        assert answer.status_code == 202, answer.text
        job_url = answer.headers["Location"]
        job = until(lambda: (j := client.get(job_url).json())["finished_at"] is not None and j)
        assert job["status"] == "succeeded", job["error"]
        document = client.get(f"{job_url}/recommendation?format=json").json()
        assert document["total_steps"] == 30
        assert client.delete(uploaded.headers["Location"]).status_code == 204
