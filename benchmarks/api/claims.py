"""How fast workers claim, and whether any job is claimed twice.

`python -m benchmarks.api.claims URL COUNT` is one worker: it claims and finishes so many jobs.
"""

import json
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack

from lrtuner.store import open_database, queue

WORKERS = 8


def claims(url: str, count: int) -> dict[str, float]:
    """So many claims by eight processes that start together: per second, and claimed twice."""
    command = [sys.executable, "-m", "benchmarks.api.claims", url, str(count // WORKERS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, **pipes))  # type: ignore[call-overload]
            for _ in range(WORKERS)
        ]
        for worker in workers:
            worker.stdout.readline()
        began = time.perf_counter()
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        answers = [json.loads(worker.stdout.readline()) for worker in workers]
        seconds = time.perf_counter() - began
    claimed = [job_id for answer in answers for job_id in answer]
    return {
        "claims": len(claimed),
        "per_second": len(claimed) / seconds,
        "twice": len(claimed) - len(set(claimed)),
    }


def main(url: str, count: str) -> None:
    """Work until so many jobs are done; print which."""
    database = open_database(url)
    with database.reading():
        pass
    print("ready", flush=True)
    sys.stdin.readline()
    done = []
    for _ in range(int(count)):
        with database.writing() as connection:
            claim = queue.claim(connection, owner=uuid.uuid4().hex, lease_seconds=600.0)
        if claim is None:
            break
        done.append(claim.job_id)
        with database.writing() as connection:
            queue.fail(connection, claim, error={"code": "benchmark"})
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
