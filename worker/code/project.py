"""Where the user's `build` is, and what to tell where their code fails."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtuner.sources import Entrypoint
from worker.failure import is_out_of_memory
from worker.sandbox.errors import FAILED, INVALID_TASK, CodeError

MAIN = "lrtune.py"
FUNCTION = "build"

_FRAMES = 3
_MESSAGE = 240


@dataclass(frozen=True)
class Project:
    """The function that builds, and the folder that its code lies in."""

    build: Callable[[Any], Any]
    folder: Path

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Within it runs their code: what it raises is told with its lines in their files.

        Raises:
            CodeError: in place of what was raised, but for what says that memory has run out.
        """
        with _blamed(self.folder):
            yield


def from_folder(folder: Path) -> Project:
    """The project in a folder: `build` in its `lrtune.py`, beside which it may import.

    Raises:
        CodeError: there is none, or importing it fails.
    """
    folder = folder.resolve()
    path = folder / MAIN
    if not path.is_file():
        raise CodeError(INVALID_TASK, f"there is no {MAIN} at the top of the project")
    # as for a script: what lies beside it comes first
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "the file is there"  # noqa: S101
    assert spec.loader is not None, "it is Python"  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _blamed(folder):
        spec.loader.exec_module(module)
    return Project(_function(module, FUNCTION, MAIN), folder)


def from_entrypoint(config: Entrypoint) -> Project:
    """What is installed under the target's name.

    Raises:
        CodeError: it is not there, or importing it fails.
    """
    name, _, function = config.target.partition(":")
    with _blamed(Path(sys.prefix)):
        module = importlib.import_module(name)
    folder = Path(module.__file__).resolve().parent if module.__file__ else Path(sys.prefix)
    return Project(_function(module, function, name), folder)


def _function(module: Any, name: str, where: str) -> Callable[[Any], Any]:
    found = getattr(module, name, None)
    if not callable(found):
        problem = "there is none" if found is None else f"it is a {type(found).__name__}"
        told = f"{where} must have a function {name}(context) that gives a lrtuner.Task: {problem}"
        raise CodeError(INVALID_TASK, told)
    function: Callable[[Any], Any] = found
    return function


@contextmanager
def _blamed(folder: Path) -> Iterator[None]:
    try:
        yield
    except CodeError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        raise CodeError(FAILED, told(error, folder)) from error


def told(error: BaseException, folder: Path) -> str:
    """The exception, and the last of its lines that are in the folder's files."""
    if isinstance(error, SyntaxError):
        where = f"{_within(error.filename or '?', folder)}, line {error.lineno}"
        return f"{type(error).__name__}: {error.msg} at {where}: {(error.text or '').strip()}"
    what = "".join(traceback.format_exception_only(error)).strip()
    if len(what) > _MESSAGE:
        what = what[:_MESSAGE] + " ..."
    own = [
        f"at {_within(frame.filename, folder)}, line {frame.lineno}, in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    return "; ".join([what, *reversed(own[-_FRAMES:])])


def _within(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
