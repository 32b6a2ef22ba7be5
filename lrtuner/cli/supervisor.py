"""Child processes that live and die together.

A child holds the reading end of a pipe as its stdin. However this process ends, the pipe closes,
and a child that watches it ends too. In the regular case the children are told, waited for, and
killed only if that takes too long.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Literal

from lrtuner.cli.output import StoppedError, note

GRACE_SECONDS = 20.0

_SIGNALS = [getattr(signal, s) for s in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, s)]

Message = Literal["stop", "hurry", "ended"]


@dataclass(frozen=True)
class Command:
    """What a child runs, and what it is called in the log."""

    name: str
    arguments: Sequence[str]


@dataclass
class Supervisor:
    """Starts children, notices when one ends or when it is told to stop, and stops them all.

    Use it as a context manager around everything that needs the children.
    """

    commands: Sequence[Command]
    env: Mapping[str, str] | None = None
    grace_seconds: float = GRACE_SECONDS
    inbox: SimpleQueue[Message] = field(default_factory=SimpleQueue)
    _children: list["_Child"] = field(default_factory=list)

    def __enter__(self) -> "Supervisor":
        try:
            for command in self.commands:
                self._children.append(_Child(command, self.env, self.inbox))
        except OSError as error:
            self._stop()
            raise StoppedError(f"cannot start {command.name}: {error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep until told to stop (True), or for so long (False).

        Raises:
            StoppedError: a child has ended; the message says how.
        """
        try:
            message = self.inbox.get(timeout=seconds)
        except Empty:
            return False
        if message != "ended":
            return True
        ended = [child for child in self._children if child.process.poll() is not None]
        raise StoppedError("\n".join(child.obituary() for child in ended))

    def _stop(self) -> None:
        """Tell the children to end; kill those that have not when time is up, or in a hurry."""
        for child in self._children:
            child.tell()
        end = time.monotonic() + self.grace_seconds
        while any(child.process.poll() is None for child in self._children):
            try:
                if self.inbox.get(timeout=max(end - time.monotonic(), 0.0)) == "hurry":
                    break
            except Empty:
                break
        for child in self._children:
            child.kill()


@contextmanager
def stop_on_signals(inbox: SimpleQueue[Message]) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into a message; a second Ctrl-C is a hurry."""
    interrupts = count()

    def put(number: int, _frame: FrameType | None) -> None:
        again = number == signal.SIGINT and next(interrupts) > 0
        inbox.put("hurry" if again else "stop")

    # What is ignored stays so: that is what nohup does.
    handled = [s for s in _SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    before = {number: signal.signal(number, put) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_with_parent(inbox: SimpleQueue[Message]) -> None:
    """Send the message when stdin ends: whoever started this process is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        inbox.put("stop")

    threading.Thread(target=watch, daemon=True).start()


class _Child:
    def __init__(
        self, command: Command, env: Mapping[str, str] | None, inbox: SimpleQueue[Message]
    ) -> None:
        self.name = command.name
        self.process = subprocess.Popen(
            command.arguments,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C in a terminal goes to the whole process group: the children hear it from us.
            start_new_session=True,
        )
        self._last_line = ""
        self._forwarding = threading.Thread(target=self._forward, daemon=True)
        self._forwarding.start()
        threading.Thread(target=self._report, args=[inbox], daemon=True).start()

    def tell(self) -> None:
        """Ask the child to end."""
        self.process.terminate()

    def kill(self) -> None:
        """End the child and whatever it has started, and let go of its pipes."""
        with suppress(ProcessLookupError, PermissionError):
            # Its group is its own, and may outlive it.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._forwarding.join(timeout=1.0)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not self._forwarding.is_alive():
                pipe.close()

    def obituary(self) -> str:
        """How the child ended."""
        self._forwarding.join(timeout=1.0)
        code = self.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}" + (f": {self._last_line}" if self._last_line else "")

    def _forward(self) -> None:
        for line in self.process.stdout or ():
            self._last_line = line.strip() or self._last_line
            note(f"{self.name} | {line.rstrip()}")

    def _report(self, inbox: SimpleQueue[Message]) -> None:
        self.process.wait()
        inbox.put("ended")
