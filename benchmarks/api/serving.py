"""Servers for a benchmark: the service, and the plainest one that does the same reads and writes.

`python -m benchmarks.api.serving ours|bare URL` serves the database at URL and says on which port.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from lrtuner.store import open_database, queue, reading
from service.__main__ import listen
from service.app import create_app
from service.settings import Settings


def bare(url: str) -> FastAPI:
    """Endpoints as one writes them first: straight from the database to the answer."""
    app = FastAPI()
    database = open_database(url)

    @app.post("/v1/jobs")
    def submit(spec: dict[str, Any]) -> dict[str, Any]:
        with database.writing() as connection:
            told = {"name": spec["name"], "metadata": spec["metadata"]}
            job_id = queue.enqueue(connection, spec=spec, **told)
            return asdict(reading.get_job(connection, job_id))

    @app.get("/v1/jobs")
    def show_list() -> list[dict[str, Any]]:
        with database.reading() as connection:
            return [asdict(row) for row in reading.list_jobs(connection, limit=20).items]

    @app.get("/v1/jobs/{job_id}", response_model=dict[str, Any])
    def show(job_id: str, request: Request) -> Any:
        with database.reading() as connection:
            row = reading.get_job(connection, job_id)
        if "if-none-match" in request.headers:
            return Response(status_code=304)
        return asdict(row)

    @app.get("/v1/jobs/{job_id}/recommendation")
    def download(job_id: str) -> Response:
        with database.reading() as connection:
            reading.get_job(connection, job_id)
            text = reading.get_recommendation(connection, job_id)
        return Response(text, media_type="application/json")

    return app


@contextmanager
def serving(which: str, url: str) -> Iterator[int]:
    """A server in a process of its own; its port."""
    command = [sys.executable, "-m", "benchmarks.api.serving", which, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main(which: str, url: str) -> None:
    """Serve until told to stop."""
    app = bare(url) if which == "bare" else create_app(Settings(database_url=url))
    with listen("127.0.0.1", 0) as listener:
        print(listener.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, server_header=False))
        server.run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
