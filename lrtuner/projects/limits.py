"""How large a project may be."""

from dataclasses import dataclass

from lrtuner.datasets.limits import MEBIBYTE

MAIN = "lrtune.py"
"""The file at the top of a project that has `build`."""


@dataclass(frozen=True)
class Limits:
    """What is refused above.

    Attributes:
        archive_bytes: of the zip file itself.
        total_bytes: of all files together, unpacked.
        entries: files and folders.
        ratio: unpacked over packed size of an entry of more than a mebibyte.
        name_bytes: of the name of one file or folder, in UTF-8.
        path_bytes: of a path in the project, in UTF-8.
        main_bytes: of `lrtune.py`.
    """

    archive_bytes: int = 64 * MEBIBYTE
    total_bytes: int = 50 * MEBIBYTE
    entries: int = 10_000
    ratio: int = 200
    name_bytes: int = 200
    path_bytes: int = 1000
    main_bytes: int = MEBIBYTE
