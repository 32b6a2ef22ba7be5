"""A user's own code: a folder with a file `lrtune.py`, packed, kept and unpacked again.

Nothing in an archive is trusted: every entry is checked before one is written, and nothing is run.

    limits      how large a project may be
    packing     a folder as a zip file
    unpacking   a zip file as a folder again, and the checks of it
    checking    whether an archive is a project at all
    folder      where uploaded projects are kept
"""

from lrtuner.projects.checking import checked
from lrtuner.projects.folder import find_project, project_path
from lrtuner.projects.limits import MAIN, Limits
from lrtuner.projects.packing import Packed, pack
from lrtuner.projects.unpacking import ProjectFile, contents, unpack

__all__ = [
    "MAIN",
    "Limits",
    "Packed",
    "ProjectFile",
    "checked",
    "contents",
    "find_project",
    "pack",
    "project_path",
    "unpack",
]
