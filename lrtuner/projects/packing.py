"""A folder as a zip file: the same content gives the same bytes, on every machine."""

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from lrtuner.errors import InvalidCodeError
from lrtuner.projects.limits import MAIN, Limits
from lrtuner.projects.unpacking import ProjectFile, contents

_NEVER = {".git", ".hg", ".svn", "__pycache__", ".lrtuner"}
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MOST_NAMED = 5


class LeftOut(NamedTuple):
    """What was not packed (a folder ends with a slash), and why."""

    path: str
    reason: str


class Packed(NamedTuple):
    """What is in an archive, and what is not."""

    files: list[ProjectFile]
    left_out: list[LeftOut]

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return sum(file.num_bytes for file in self.files)


class _Rules(NamedTuple):
    """A `.gitignore`: the folder that it is about, and its own path from the project."""

    folder: Path
    name: str
    spec: GitIgnoreSpec


def pack(folder: Path, archive: Path, limits: Limits | None = None) -> Packed:
    """Pack a project folder.

    Left out are what a `.gitignore` says (those above the folder too, up to the top of its
    repository), `.git`, virtual environments, `__pycache__`, `*.pyc`, `.lrtuner`, and links that
    do not lead to a packed file. Entries are sorted, without times and modes, and stored as they
    are: compressed they would depend on the version of zlib.

    Args:
        folder: the project.
        archive: the zip file to write; not inside of the folder.
        limits: how large the project may be.

    Raises:
        InvalidCodeError: there is no `lrtune.py`, it is too large, or a name is not possible.
    """
    limits = limits or Limits()
    if not folder.is_dir():
        raise InvalidCodeError(f"there is no folder {folder}")
    try:
        left_out = _packed(folder.resolve(), archive, limits)
    except OSError as error:
        raise InvalidCodeError(f"cannot pack {folder}: {error}") from None
    return Packed(contents(archive, limits), left_out)


def _packed(folder: Path, archive: Path, limits: Limits) -> list[LeftOut]:
    left_out: list[LeftOut] = []
    found = set(_walk(folder, folder, _rules_above(folder), left_out))
    sources = dict(_readable(folder, found, left_out))
    files = [ProjectFile(name, path.stat().st_size) for name, path in sorted(sources.items())]
    left_out.sort()
    _check_main(folder, files, left_out)
    _check_size(files, limits)
    with zipfile.ZipFile(archive, "w") as opened:
        for file in files:
            opened.writestr(_entry(file.path), sources[file.path].read_bytes())
    return left_out


def _walk(top: Path, folder: Path, rules: list[_Rules], left_out: list[LeftOut]) -> Iterator[Path]:
    """The files and links that are not left out, folder by folder."""
    rules = rules + _rules_of(folder, top)
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            is_folder = entry.is_dir(follow_symlinks=False)
            reason = _never(path, is_folder) or _ignored(path, is_folder, rules)
            if reason:
                name = path.relative_to(top).as_posix()
                left_out.append(LeftOut(name + "/" * is_folder, reason))
            elif is_folder:
                yield from _walk(top, path, rules, left_out)
            else:
                yield path


def _never(path: Path, is_folder: bool) -> str | None:
    if is_folder and (path.name in _NEVER or (path / "pyvenv.cfg").exists()):
        return "never packed"
    if not is_folder and path.name.endswith(".pyc"):
        return "never packed"
    return None


def _rules_of(folder: Path, top: Path) -> list[_Rules]:
    path = folder / ".gitignore"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [_Rules(folder, os.path.relpath(path, top), GitIgnoreSpec.from_lines(lines))]


def _rules_above(folder: Path) -> list[_Rules]:
    """Those of the folders above, from the top of the repository on; none outside of one."""
    for count, above in enumerate((folder, *folder.parents)):
        if (above / ".git").exists():
            between = list(folder.parents)[:count]
            return [rule for parent in reversed(between) for rule in _rules_of(parent, folder)]
    return []


def _ignored(path: Path, is_folder: bool, rules: list[_Rules]) -> str | None:
    """Which `.gitignore` leaves it out: the last that says anything about it decides."""
    for rule in reversed(rules):
        name = path.relative_to(rule.folder).as_posix() + "/" * is_folder
        include = rule.spec.check_file(name).include
        if include is not None:
            return f"ignored by {rule.name}" if include else None
    return None


def _readable(
    folder: Path, found: set[Path], left_out: list[LeftOut]
) -> Iterator[tuple[str, Path]]:
    """The name of each file with where its bytes are: of a link, in the file it leads to."""
    for path in found:
        name = path.relative_to(folder).as_posix()
        if not name.isprintable():
            told = "its name has characters that cannot be printed"
            raise InvalidCodeError(f"{name!a}: {told}: rename it, or add it to .gitignore")
        if not path.is_symlink():
            if stat.S_ISREG(path.stat().st_mode):
                yield name, path
            else:
                left_out.append(LeftOut(name, "no plain file"))
            continue
        target = Path(os.path.realpath(path))  # unlike resolve, it stands loops
        if target in found and target.is_file():
            yield name, target
        else:
            left_out.append(LeftOut(name, "a link that leads to no packed file"))


def _check_main(folder: Path, files: list[ProjectFile], left_out: list[LeftOut]) -> None:
    if any(file.path == MAIN for file in files):
        return
    reasons = [skipped.reason for skipped in left_out if skipped.path == MAIN]
    why = f"{MAIN} is left out: {reasons[0]}" if reasons else f"there is no {MAIN} in it"
    raise InvalidCodeError(f"{folder} is no project: {why}")


def _check_size(files: list[ProjectFile], limits: Limits) -> None:
    total = sum(file.num_bytes for file in files)
    if total <= limits.total_bytes and len(files) <= limits.entries:
        return
    largest = sorted(files, key=lambda file: -file.num_bytes)[:_MOST_NAMED]
    named = ", ".join(f"{file.path} ({file.num_bytes} bytes)" for file in largest)
    raise InvalidCodeError(
        f"the project has {len(files)} files of {total} bytes together; at most {limits.entries} "
        f"files of {limits.total_bytes} bytes are possible. Add to .gitignore what the training "
        f"does not need; the largest are {named}"
    )


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_EARLIEST)
    info.create_system = _UNIX
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info
