"""A zip file as a folder again, after everything in it was checked."""

import os
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lrtuner.datasets import Limits as DatasetLimits
from lrtuner.datasets import archive as zipped
from lrtuner.errors import InvalidCodeError, InvalidDatasetError
from lrtuner.projects.limits import MAIN, Limits

_CHUNK_BYTES = 1024 * 1024


class ProjectFile(NamedTuple):
    """A file of a project: its path from the top, with forward slashes, and its size in bytes."""

    path: str
    num_bytes: int


def contents(archive: Path, limits: Limits | None = None) -> list[ProjectFile]:
    """The files in a zip file that `unpack` takes, by path; each was read to its end.

    Raises:
        InvalidCodeError: as `unpack`.
    """
    limits = limits or Limits()
    with _checked(archive, limits) as (opened, infos):
        room = limits.total_bytes
        for info in infos:
            for chunk in _chunks(opened, info):
                room = _less(room, chunk, info, limits)
        return sorted(ProjectFile(info.filename, info.file_size) for info in infos)


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> None:
    """Unpack a project.

    Every entry is checked before anything is written; what was written before damage shows inside
    of an entry stays in `folder`. Files get mode 0644, folders 0755, whatever the archive says.

    Args:
        archive: the zip file.
        folder: where to; it is made if needed, and must be empty.
        limits: how large the project may be.

    Raises:
        InvalidCodeError: it is no intact zip file; an entry is named like a path out of the folder,
            twice (capitals or not), in a way that cannot be printed or too long, is no plain
            file, encrypted, or packed suspiciously well; there is too much of them; or there is no
            `lrtune.py` at the top. `where` has the entry.
        ValueError: the folder is not empty.
    """
    limits = limits or Limits()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    with _checked(archive, limits) as (opened, infos):
        room = limits.total_bytes
        for info in infos:
            path = folder / info.filename
            _make_folders(folder, path.parent)
            with open(_new_file(path), "wb") as file:
                for chunk in _chunks(opened, info):
                    room = _less(room, chunk, info, limits)
                    file.write(chunk)


@contextmanager
def _checked(
    archive: Path, limits: Limits
) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """The archive and the files in it, all entries checked."""
    shared = DatasetLimits(entries=limits.entries, ratio=limits.ratio)
    if archive.stat().st_size > limits.archive_bytes:
        raise InvalidCodeError(f"it has more than {limits.archive_bytes} bytes")
    try:
        with zipped.opened(archive) as opened:
            infos = zipped.files(opened, shared, total=limits.total_bytes)
            _check_names(opened.infolist(), limits)
            _check_main(infos, limits)
            yield opened, infos
    except InvalidDatasetError as error:  # what zip files of any kind have in common
        raise InvalidCodeError(str(error), **error.where) from None


def _check_names(infos: list[zipfile.ZipInfo], limits: Limits) -> None:
    """Refuse what two entries, or a file system, could understand in different ways."""
    kinds: dict[str, bool] = {}
    for info in infos:
        name = info.filename.removesuffix("/")
        reason = _wrong_form(name, limits)
        if reason:
            raise _refused(info, reason)
        for above in PurePosixPath(name).parents[:-1]:
            if not kinds.setdefault(_folded(str(above)), True):
                raise _refused(info, "it lies in a folder that is a file")
        if kinds.get(_folded(name), info.is_dir()) != info.is_dir() or (
            not info.is_dir() and _folded(name) in kinds
        ):
            raise _refused(info, "it is there twice, but for capitals or the form of its letters")
        kinds[_folded(name)] = info.is_dir()


def _wrong_form(name: str, limits: Limits) -> str | None:
    path = PurePosixPath(name)
    if not path.parts or str(path) != name:
        return "its name is no plain path: it has empty parts or dots"
    if any(part != part.strip() or part.endswith(".") for part in path.parts):
        return "a part of its name begins or ends with a space, or ends with a dot"
    if any(len(part.encode()) > limits.name_bytes for part in path.parts):
        return f"a part of its name has more than {limits.name_bytes} bytes"
    if len(name.encode()) > limits.path_bytes:
        return f"its name has more than {limits.path_bytes} bytes"
    return None


def _folded(name: str) -> str:
    """The same for all names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_main(infos: list[zipfile.ZipInfo], limits: Limits) -> None:
    mains = [info for info in infos if PurePosixPath(info.filename).name == MAIN]
    for info in mains:
        if info.filename == MAIN:
            if info.file_size > limits.main_bytes:
                raise _refused(info, f"it has more than {limits.main_bytes} bytes")
            return
    found = f"; there is {mains[0].filename[:100]!a}" if mains else ""
    raise InvalidCodeError(f"there is no {MAIN} at the top of it{found}", entry=MAIN)


def _chunks(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with zipped.entry(opened, info) as file:
        left = info.file_size
        while chunk := file.read(_CHUNK_BYTES):
            left -= len(chunk)
            yield chunk
    if left:
        raise _refused(info, "it unpacks to another size than it says")


def _less(room: int, chunk: bytes, info: zipfile.ZipInfo, limits: Limits) -> int:
    """What is left of `room` after a chunk: headers are promises only."""
    if len(chunk) > room:
        raise _refused(info, f"with it, it unpacks to more than {limits.total_bytes} bytes")
    return room - len(chunk)


def _make_folders(folder: Path, wanted: Path) -> None:
    for part in reversed([wanted, *wanted.parents]):
        if part.is_relative_to(folder) and part != folder and not part.exists():
            part.mkdir()
            part.chmod(0o755)


def _new_file(path: Path) -> int:
    """A descriptor of a file that was not there, not through a link, readable by all."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    os.fchmod(descriptor, 0o644)
    return descriptor


def _refused(info: zipfile.ZipInfo, reason: str) -> InvalidCodeError:
    shown = ascii(info.orig_filename[:100])
    return InvalidCodeError(f"entry {shown}: {reason}", entry=shown)
