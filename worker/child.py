"""The process that trains one job: the job comes in on stdin, what happens goes out in JSON lines.

It has no database. It ends when its stdin does, so that it never outlives its supervisor. Standard
library only, until it listens for that end: what trains takes seconds to import.
"""

import json
import os
import sys
import threading
from typing import TextIO

ORPHANED = 3


def main() -> int:
    """Train the job on stdin; 0 when it ended as a job may end, also as a failed one."""
    out = _private_stdout()
    told = sys.stdin.readline()
    if not told:  # the supervisor died before it could say anything
        return ORPHANED
    threading.Thread(target=_exit_at_eof, daemon=True).start()
    from worker.order import carry_out  # noqa: PLC0415

    carry_out(json.loads(told), out)
    return 0


def _private_stdout() -> TextIO:
    """Take stdout for messages alone; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _exit_at_eof() -> None:
    # not sys.stdin: a thread blocked in it aborts the interpreter when it exits
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
