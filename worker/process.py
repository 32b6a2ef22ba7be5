"""A job's child process as its supervisor sees it: start, messages, kill."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

from lrtuner.settings import without_database

_COMMAND = (sys.executable, "-m", "worker.child")


class Child:
    """One running child. Messages arrive in order; None means that it has ended.

    Its temporary files lie in a folder of their own, which goes with it however it ends.
    """

    def __init__(self, order: dict[str, Any], command: tuple[str, ...] = _COMMAND) -> None:
        self._folder = tempfile.mkdtemp(prefix="lrtuner-job-")
        if os.geteuid() == 0:
            # code of others lies below, and does not run as root
            os.chmod(self._folder, 0o711)  # noqa: S103
        # one thread per process, said before torch is imported; a session of its own, so that
        # killing the group takes grandchildren along and Ctrl-C reaches the supervisor alone
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_environment(), "TMPDIR": self._folder},
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        text = json.dumps(order) + "\n"
        self._threads = (
            threading.Thread(target=self._send, args=(text,), daemon=True),
            threading.Thread(target=self._receive, daemon=True),
        )
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def next_message(self, timeout: float) -> dict[str, Any] | None:
        """The next message, or None when the child has ended.

        Raises:
            queue.Empty: nothing came within `timeout` seconds.
        """
        return self._messages.get(timeout=timeout)

    def end(self) -> int:
        """Kill it if it still runs, with all its own children; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return status

    def wait(self) -> int:
        """Wait for the child that has said its last message; its exit status."""
        status = self._process.wait()
        self.end()
        return status

    def _send(self, text: str) -> None:
        # the pipe stays open: its end tells the child that the supervisor is gone
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(text)
                self._process.stdin.flush()

    def _receive(self) -> None:
        for line in self._process.stdout or ():
            with contextlib.suppress(ValueError):  # a line cut off by a kill
                self._messages.put(json.loads(line))
        self._messages.put(None)


def runner_problem() -> str | None:
    """Why the runner of the settings cannot be used, or None; found out by a process of its own."""
    tried = subprocess.run(
        (sys.executable, "-m", "worker.runners.chosen"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=_environment(),
        text=True,
        check=False,
    )
    last = tried.stdout.strip().rpartition("\n")[2]
    return (last or described(tried.returncode)) if tried.returncode else None


def _environment() -> dict[str, str]:
    """Ours, without the way to the database: the child has no use for it."""
    return {**without_database(os.environ), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def described(status: int) -> str:
    """What an exit status means, in words."""
    if status >= 0:
        return f"its process ended with status {status}"
    name = signal.Signals(-status).name
    hint = "; the system may be out of memory" if -status == signal.SIGKILL else ""
    return f"its process was killed by {name}{hint}"
