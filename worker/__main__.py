"""`python -m worker`: one worker, until it is told to stop."""

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading

from lrtuner import logs
from lrtuner.errors import LRTunerError
from lrtuner.settings import from_environment
from lrtuner.store import open_database
from lrtuner.store.level import is_migrated
from worker.loop import Worker
from worker.process import runner_problem
from worker.sandbox import kernel
from worker.settings import Settings


def main() -> int:
    """Run a worker; SIGTERM and Ctrl-C hand the job back and stop."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input ends"
    )
    arguments = parser.parse_args()
    try:
        settings = from_environment(Settings)
    except LRTunerError as error:
        sys.exit(str(error))
    logs.configure(settings.log_level, settings.log_format)
    if settings.sandbox:
        with contextlib.suppress(OSError):
            # the address of the database is not to be read by others of this user
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if arguments.exit_with_parent:
        threading.Thread(target=_stop_at_eof, args=(stop,), daemon=True).start()
    try:
        database = open_database(settings.database_url)
        if not is_migrated(database):
            sys.exit(f"{database} is not migrated to this version: run `lrtuner migrate`")
        problem = runner_problem() if settings.runner != "local" else None
        if problem:
            sys.exit(problem)
        worker = Worker(database, settings, stop)
        if settings.metrics_port:
            worker.meters.serve(settings.metrics_port, settings.metrics_host)
        worker.run()
    except LRTunerError as error:
        sys.exit(str(error))
    except OSError as error:
        if settings.metrics_port and error.errno == errno.EADDRINUSE:
            sys.exit(f"LRTUNER_METRICS_PORT={settings.metrics_port} is in use already")
        raise
    return 0


def _stop_at_eof(stop: threading.Event) -> None:
    # not sys.stdin: a thread blocked in it aborts the interpreter when it exits
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
