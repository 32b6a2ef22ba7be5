"""The process of a slot: `python -m worker.runners.inside FD`, the descriptor of its pipe.

It ends when its stdin does, so that it never outlives the one that started it. Standard library
only, until it hears that one's end: torch takes seconds to import.
"""

import os
import signal
import socket
import sys
import threading

from worker.sandbox.pipe import Pipe

ORPHANED = 3

LARGEST = 1 << 30
"""Bytes of the largest message: many runs of many updates, as text."""


def main() -> None:
    """Answer questions about the task in the first message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started it
    threading.Thread(target=_exit_at_eof, daemon=True).start()
    pipe = Pipe(socket.socket(fileno=int(sys.argv[1])), LARGEST)
    from worker.serve import serve  # noqa: PLC0415

    serve(pipe, pipe.receive())


def _exit_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
