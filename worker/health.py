"""`python -m worker.health`: whether the worker on this machine works; for health checks.

It asks the worker's metrics when the database last answered it. Standard library only: this runs
every few seconds. The exit code is 0 or 1, with the reason on stdout.
"""

import os
import sys
import time
import urllib.request
from collections.abc import Mapping

METRIC = "lrtuner_worker_database_seconds"
"""When the database last answered, as epoch seconds."""

LONGEST_SILENCE_SECONDS = 60.0
_TIMEOUT_SECONDS = 3.0


def problem(environ: Mapping[str, str] = os.environ) -> str | None:
    """What is wrong with the worker whose metrics these variables name; None if nothing is."""
    port = environ.get("LRTUNER_METRICS_PORT")
    if not port:
        return "LRTUNER_METRICS_PORT is not set: it is there that the worker is asked"
    address = f"http://127.0.0.1:{port}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        return f"the worker does not answer at {address}: {error}"
    silence = time.time() - next((float(s.split()[1]) for s in lines if s.startswith(METRIC)), 0.0)
    if silence > LONGEST_SILENCE_SECONDS:
        return f"the database has not answered this worker for {min(silence, 1e6):.0f} s"
    return None


def main() -> int:
    """Say what is wrong, if anything is."""
    told = problem()
    sys.stdout.write(f"{told or 'ok'}\n")
    return int(told is not None)


if __name__ == "__main__":
    sys.exit(main())
