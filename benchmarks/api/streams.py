"""What open event streams cost the API: memory, threads, database sessions.

`python -m benchmarks.api.streams [--clients 1000] [--database URL]`. The clients wait for 100
different jobs in which nothing happens, and the numbers with 50 of them stand beside those with
all.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lrtuner.store import migrate, open_database, queue

JOBS = 100
FEW = 50
_TOGETHER = 50
_SETTLE_SECONDS = 2.0
_START_SECONDS = 60.0


def streams(url: str, clients: int = 1000) -> dict[str, Any]:
    """Open that many streams of the database at `url`, which is migrated; what they cost."""
    _raise_file_limit()
    with _service(url) as (process, port):
        found = asyncio.run(_measured(url, process.pid, port, clients))
    few, many = found["few"], found["many"]
    found["kib_per_stream"] = (many["rss_mb"] - few["rss_mb"]) * 1024 / (clients - FEW)
    return found


async def _measured(url: str, pid: int, port: int, clients: int) -> dict[str, Any]:
    job_ids = _jobs(url)
    before = _cost(url, pid)
    open_streams: list[asyncio.StreamWriter] = []
    await _open(open_streams, job_ids, port, FEW)
    few = _cost(url, pid)
    began = time.perf_counter()
    await _open(open_streams, job_ids, port, clients)
    seconds = time.perf_counter() - began
    many = _cost(url, pid)
    for writer in open_streams:
        writer.close()
    return {
        "clients": clients,
        "before": before,
        "few": few,
        "many": many,
        "opened_per_second": (clients - FEW) / seconds,
    }


async def _open(
    streams: list[asyncio.StreamWriter], job_ids: list[str], port: int, number: int
) -> None:
    """Open streams until there are so many, each of which has told its first event."""
    while len(streams) < number:
        some = range(len(streams), min(number, len(streams) + _TOGETHER))
        streams += await asyncio.gather(*(_stream(job_ids[i % JOBS], port) for i in some))
    await asyncio.sleep(_SETTLE_SECONDS)


async def _stream(job_id: str, port: int) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"/v1/jobs/{job_id}/events"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
    await reader.readuntil(b"job.queued")
    return writer


def _jobs(url: str) -> list[str]:
    database = open_database(url)
    with database.writing() as connection:
        ids = [queue.enqueue(connection, spec={}, name=None, metadata={}) for _ in range(JOBS)]
    database.close()
    return ids


def _cost(url: str, pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return {
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "sessions": _sessions(url, pid),
    }


def _sessions(url: str, pid: int) -> int:
    """Open connections of the service to its database."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        database = Path(str(parsed.database)).resolve()
        files = Path(f"/proc/{pid}/fd").iterdir()
        return sum(file.resolve() == database for file in files)
    opened = open_database(url)
    with opened.reading() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        number: int = connection.execute(sa.text(query)).scalar_one()
    opened.close()
    return number - 1  # but for the one that asks


@contextmanager
def _service(url: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The API in a process of its own, and its port; its log is a file, which never blocks it."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        environment = os.environ | {"LRTUNER_DATABASE_URL": url, "LRTUNER_AUTH": "open"}
        command = [sys.executable, "-m", "service", "--port", "0"]
        with subprocess.Popen(command, env=environment, stderr=log) as process:
            try:
                yield process, _port(Path(folder) / "log")
            finally:
                process.terminate()


def _port(log: Path) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while "listening on" not in log.read_text():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the API did not start: {log.read_text()}")
        time.sleep(0.05)
    line = next(line for line in log.read_text().splitlines() if "listening on" in line)
    return int(line.rpartition(":")[2])


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api.streams", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--database", help="URL of an empty one; default: SQLite in a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite:///{folder}/streams.db"
        migrate.upgrade(url)
        found = streams(url, options.clients)
    for name in ("before", "few", "many"):
        cost = found[name]
        told = f"{cost['rss_mb']:.0f} MB, {cost['threads']} threads, {cost['sessions']} sessions"
        print(f"{name:<7} {told}")
    print(f"{found['kib_per_stream']:.1f} KiB a stream, {found['opened_per_second']:.0f} opened/s")


if __name__ == "__main__":
    main()
