"""Whether an archive is a project that can be unpacked, and whose `lrtune.py` is Python."""

import ast
import warnings
import zipfile
from pathlib import Path

from lrtuner.errors import InvalidCodeError
from lrtuner.projects.limits import MAIN, Limits
from lrtuner.projects.unpacking import ProjectFile, contents


def checked(archive: Path, limits: Limits | None = None) -> list[ProjectFile]:
    """The files of a project; nothing of it is written or run.

    A hostile `lrtune.py` may take much memory to parse, or more than the interpreter stands: see
    `lrtuner.projects.__main__`.

    Raises:
        InvalidCodeError: as `unpack`; or `lrtune.py` is no Python.
    """
    files = contents(archive, limits)
    with zipfile.ZipFile(archive) as opened:
        _parse(opened.read(MAIN))
    return files


def _parse(source: bytes) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and the like
            ast.parse(source, MAIN)
    except SyntaxError as error:
        place = f", line {error.lineno}" if error.lineno else ""
        where = {"entry": MAIN} | ({"line": error.lineno} if error.lineno else {})
        raise InvalidCodeError(f"{MAIN}{place}: no valid Python: {error.msg}", **where) from None
    except ValueError as error:
        raise InvalidCodeError(f"{MAIN}: no valid Python: {error}", entry=MAIN) from None
    except (RecursionError, MemoryError):
        raise InvalidCodeError(f"{MAIN}: it is nested too deeply", entry=MAIN) from None
