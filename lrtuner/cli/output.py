"""What commands say and write: results on stdout, all else on stderr, files whole or not at all."""

import os
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TextIO

from lrtuner.client import ProblemError, ServerUnreachableError, WaitTimeoutError
from lrtuner.errors import InvalidInputError, JobFailedError, LRTunerError
from lrtuner.words import Rows, clean

STDOUT = "-"

LINE_WIDTH = 80


class ExitCode(IntEnum):
    """What the exit code of a command says."""

    OK = 0
    FAILED = 1
    INVALID = 2
    NOT_BETTER = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class StoppedError(LRTunerError):
    """A process that was started here has ended before its time."""

    code = "stopped"


def exit_code(error: LRTunerError) -> ExitCode:
    """The exit code that `error` ends a command with."""
    match error:
        case WaitTimeoutError():
            return ExitCode.TIMED_OUT
        case ServerUnreachableError():
            return ExitCode.UNREACHABLE
        case ProblemError(problem=problem):
            broken = (problem.status or 0) >= 500
            return ExitCode.UNREACHABLE if broken else ExitCode.INVALID
        case JobFailedError() | StoppedError():
            return ExitCode.FAILED
        case _:
            return ExitCode.INVALID


def say(text: str = "") -> None:
    """Print a result."""
    _print(text, sys.stdout)


def note(text: str) -> None:
    """Print something for the person who watches."""
    _print(text, sys.stderr)


def speaks_unicode(stream: TextIO, sample: str) -> bool:
    """Whether `stream` can show the characters of `sample`."""
    try:
        sample.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def table(rows: Rows, indent: str = "  ") -> list[str]:
    """The rows as lines of at most 80 characters, the second column aligned."""
    width = max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, text in rows:
        first = f"{indent}{clean(name):<{width}}  "
        lines += textwrap.wrap(
            clean(text),
            LINE_WIDTH,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,  # URLs and ids are copied from here
            break_on_hyphens=False,
        )
    return lines


def columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines with their cells in columns, as wide as the widest of each."""
    cells = [[clean(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def require_writable(output: str) -> None:
    """Fail now rather than after the work.

    Raises:
        InvalidInputError: no file can be written to `output`.
    """
    path = Path(output)
    if output == STDOUT:
        return
    if path.is_dir():
        raise InvalidInputError(f"cannot write {output}: it is a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        why = "cannot be written" if path.parent.is_dir() else "does not exist"
        raise InvalidInputError(f"cannot write {output}: the folder {path.parent} {why}")


def save(output: str, content: bytes) -> None:
    """Write `content` to the file `output`, or to stdout for `-`.

    Raises:
        InvalidInputError: it cannot be written; what was there is still there.
    """
    if output == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        _replace(Path(output), content)
    except OSError as error:
        raise InvalidInputError(f"cannot write {output}: {error.strerror}") from None


def _replace(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():  # /dev/null, a pipe: nothing to replace
        path.write_bytes(content)
        return
    path = path.resolve()  # a link keeps pointing where it did
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.write(content)
            new.close()
            Path(new.name).chmod(_mode(path))
            Path(new.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(new.name).unlink()
            raise


def _mode(path: Path) -> int:
    """The permissions the file has, or that a new file would get."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _print(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
