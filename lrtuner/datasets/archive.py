"""The entries of a zip file, none of which is ever written anywhere."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.errors import InvalidDatasetError

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip file, to read from.

    Raises:
        InvalidDatasetError: it is none.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise InvalidDatasetError(f"it is no intact zip file: {error}") from None
    with archive:
        yield archive


def files(archive: zipfile.ZipFile, limits: Limits, *, total: int) -> list[zipfile.ZipInfo]:
    """The files in an archive, every entry checked before any is unpacked.

    Args:
        archive: an open zip file.
        limits: of the number of entries and of how far each may unpack.
        total: bytes that all entries may have together when unpacked.

    Raises:
        InvalidDatasetError: an entry is named like a path out of a folder, is no plain file,
            encrypted, named twice or packed suspiciously well; or there is too much of them.
    """
    infos = archive.infolist()
    if len(infos) > limits.entries:
        raise InvalidDatasetError(
            f"it has {len(infos)} entries; at most {limits.entries} are possible"
        )
    seen: set[str] = set()
    size = 0
    for info in infos:
        _check(info, limits)
        if info.filename in seen:
            raise InvalidDatasetError(
                f"entry {_shown(info)}: it is there twice", entry=_shown(info)
            )
        seen.add(info.filename)
        size += info.file_size
        if size > total:
            raise InvalidDatasetError(
                f"it unpacks to more than {total} bytes, with entry {_shown(info)}",
                entry=_shown(info),
            )
    return [info for info in infos if not info.is_dir()]


@contextmanager
def entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """One entry's content, of at most the size that it says; its checksum is checked at its end.

    Raises:
        InvalidDatasetError: it is damaged; also from reading inside the block.
    """
    try:
        with archive.open(info) as file:
            yield file
    except InvalidDatasetError:
        raise
    except (*_DAMAGE, RuntimeError) as error:
        raise InvalidDatasetError(
            f"entry {_shown(info)} is damaged: {error}", entry=_shown(info)
        ) from None


def _check(info: zipfile.ZipInfo, limits: Limits) -> None:
    reason = _wrong_name(info.orig_filename) or _wrong_kind(info) or _too_dense(info, limits)
    if reason:
        raise InvalidDatasetError(f"entry {_shown(info)}: {reason}", entry=_shown(info))


def _wrong_name(name: str) -> str | None:
    if not name or not name.isprintable():
        return "its name has characters that cannot be printed"
    if "\\" in name or ":" in name or name.startswith("/"):
        return "its name is no relative path with forward slashes"
    if ".." in PurePosixPath(name).parts:
        return "its name leads out of the folder"
    return None


def _wrong_kind(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a link or a device, not a plain file"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in _METHODS:
        return "it is packed in a way that is not supported; only stored and deflated are"
    return None


def _too_dense(info: zipfile.ZipInfo, limits: Limits) -> str | None:
    if info.file_size > max(MEBIBYTE, limits.ratio * info.compress_size):
        return f"it unpacks to more than {limits.ratio} times its packed size"
    return None


def _shown(info: zipfile.ZipInfo) -> str:
    return ascii(info.orig_filename[:100])
