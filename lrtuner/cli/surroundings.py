"""What can be examined without the database, torch or a server of our own: for `lrtuner doctor`."""

import difflib
import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from lrtuner import __version__
from lrtuner.client import DEFAULT_URL, ProblemError
from lrtuner.client.transport import Transport
from lrtuner.diagnosis import Diagnosis, fine, warned, wrong
from lrtuner.errors import LRTunerError

#: Of the command itself; each process knows its own.
OWN_VARIABLES = ("LRTUNER_URL", "LRTUNER_API_KEY")

_PREFIX, _BY_FILE = "LRTUNER_", "_FILE"
_FEW_BYTES, _TOO_FEW_BYTES = 1 << 30, 100 << 20
_MEBIBYTE = 1 << 20
_TIMEOUT_SECONDS = 5.0
_REQUIREMENT = re.compile(
    r"^([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;\s*extra\s*==\s*['\"](\w+)['\"])?"
)


def versions(extras: Collection[str]) -> Iterator[Diagnosis]:
    """Python, and whether what is installed is what lrtuner and these extras of it need."""
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    parts = f" with {', '.join(extras)}" if extras else ", the client alone"
    yield fine("versions", f"lrtuner {__version__}{parts}; {where}")
    try:
        requirements = importlib.metadata.requires("lrtuner") or []
    except importlib.metadata.PackageNotFoundError:
        told = "lrtuner runs from a folder and is not installed: what it needs cannot be checked"
        yield warned("versions", told, "pip install --editable that folder")
        return
    for requirement in requirements:
        yield from _unfit(requirement, extras)


def _unfit(requirement: str, extras: Collection[str]) -> Iterator[Diagnosis]:
    matched = _REQUIREMENT.match(requirement)
    if matched is None:
        return
    name, wanted, extra = matched.group(1), matched.group(2).strip(), matched.group(3)
    if extra and extra not in extras:
        return
    of = f"lrtuner[{extra}]" if extra else "lrtuner"
    remedy = f"pip install --upgrade '{of}'"
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        yield wrong("versions", f"{name} is not installed; {of} needs it", remedy)
        return
    if not fits(found, wanted):
        yield wrong("versions", f"{name} {found} is installed; {of} needs {wanted}", remedy)


def fits(version: str, wanted: str) -> bool:
    """Whether a version is within bounds such as `>=1.2,<2`."""
    found = _numbers(version)
    for operator, bound in re.findall(r"(>=|<)\s*([\d.]+)", wanted):
        if (found >= _numbers(bound)) != (operator == ">="):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """What counts for order: `2.13.0+cpu` is (2, 13)."""
    matched = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in matched.group().split(".")] if matched else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def variables(environ: Mapping[str, str], known: Collection[str]) -> Iterator[Diagnosis]:
    """Each variable that looks like a setting and is none."""
    names = {*known, *OWN_VARIABLES}
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or name in names or name.removesuffix(_BY_FILE) in names:
            continue
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"is it {close[0]} that is meant?" if close else "leave it out"
        yield warned("settings", f"{name} is no setting, and does nothing", meant)


def folders(environ: Mapping[str, str]) -> Iterator[Diagnosis]:
    """Whether the data folder and the one for temporary files can be written, and have room."""
    yield folder(
        "data folder", Path(environ.get("LRTUNER_DATA_DIR") or ".lrtuner"), "LRTUNER_DATA_DIR"
    )
    try:
        yield folder("temporary folder", Path(tempfile.gettempdir()), "TMPDIR")
    except FileNotFoundError as error:
        yield wrong("temporary folder", str(error), "set TMPDIR to a folder that can be written")


def folder(check: str, path: Path, setting: str) -> Diagnosis:
    """Whether files can be written there, and how much room there is."""
    there = path.absolute()
    while not there.exists():  # it is made when it is needed
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x" * 4096)
            file.flush()
        free = shutil.disk_usage(there).free
    except OSError as error:
        told = f"{path} cannot be written: {error.strerror}"
        mend = f"let {_user()} own it (chown), or set {setting} to another folder"
        return wrong(check, told, mend)
    told = f"{path} can be written, {free / _MEBIBYTE:,.0f} MiB free"
    remedy = f"make room, or set {setting} to a folder on a larger disk"
    if free < _TOO_FEW_BYTES:
        return wrong(check, told, remedy)
    return warned(check, told, remedy) if free < _FEW_BYTES else fine(check, told)


def server(environ: Mapping[str, str], *, is_client: bool) -> Iterator[Diagnosis]:
    """Whether the service answers at LRTUNER_URL, in which version, and takes the key.

    Args:
        environ: the environment.
        is_client: whether there is nothing else here that an unreachable service leaves to do.
    """
    url = environ.get("LRTUNER_URL") or DEFAULT_URL
    # elsewhere it may just not have been started yet
    missing = wrong if is_client or environ.get("LRTUNER_URL") else warned
    try:
        index = _asked(url, "/")
        version = str(index.get("version", "")) if index.get("name") == "lrtuner" else ""
    except (LRTunerError, ValueError, AttributeError) as error:
        told = str(error) if url in str(error) else f"{url}: {error}"
        yield missing("server", told, "does it run? LRTUNER_URL says where it is")
        return
    if not version:
        yield missing("server", f"{url} answers, and is no lrtuner", "set LRTUNER_URL")
        return
    if version == __version__:
        yield fine("server", f"{url} answers, version {version}")
    else:
        told = f"{url} has version {version}, and this is {__version__}"
        yield warned("server", told, "bring both to one version")
    yield from _readiness(url)
    yield from _key(url, environ.get("LRTUNER_API_KEY"))


def _readiness(url: str) -> Iterator[Diagnosis]:
    try:
        _asked(url, "/readyz")
    except LRTunerError as error:
        yield wrong("server", f"it is not ready: {error}", "run `lrtuner doctor` where it runs")


def _key(url: str, key: str | None) -> Iterator[Diagnosis]:
    try:
        _asked(url, "/v1/jobs?limit=1", key)
    except ProblemError as error:
        if error.problem.status not in (401, 403):
            return
        remedy = (
            "set LRTUNER_API_KEY to a key that the operator has made with `lrtuner keys create`"
        )
        yield wrong("key", str(error), remedy)
    except LRTunerError:  # told already
        return
    else:
        yield fine("key", "LRTUNER_API_KEY is accepted" if key else "none is needed")


def _asked(url: str, path: str, key: str | None = None) -> Any:
    """The answer as data.

    Raises:
        LRTunerError: there is none.
        ValueError: it is no JSON.
    """
    transport = Transport(url, key, _TIMEOUT_SECONDS, patience=0.0)
    with transport.http:
        return transport.request("GET", path).json()


def _user() -> str:
    return f"user {os.getuid()}" if hasattr(os, "getuid") else "the user of this process"
