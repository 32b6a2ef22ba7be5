"""`python -m lrtuner.datasets FORMAT FILE ...`: inspect a file that nobody trusts.

In a process of its own, with limits on its memory, its time, and without writing anything, so that
neither a file that is larger inside than outside nor one that breaks a decoder hurts anybody else.
One JSON object on stdout: `{"inspection": ...}` or `{"problem": ..., "where": ...}`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lrtuner.confinement import confine
from lrtuner.datasets import FORMATS, Format, Limits, Options, inspect
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.errors import InvalidDatasetError, LRTunerError

_ROOM_BYTES = 512 * MEBIBYTE
"""Memory beside the arrays: the interpreter and the libraries."""

_COPIES = 4
"""How often the arrays are in memory at once at most: as read, converted, collected, split."""


def main() -> int:
    """Inspect the file; 0 also where it is refused."""
    parser = argparse.ArgumentParser(prog="python -m lrtuner.datasets", description=__doc__)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--target", help="the column of the targets")
    parser.add_argument("--array-bytes", type=int, default=Limits().array_bytes)
    parser.add_argument("--seconds", type=int, default=300, help="of processor time")
    given = parser.parse_args()
    confine(_COPIES * given.array_bytes + _ROOM_BYTES, given.seconds)
    options = Options(target=given.target)
    sys.stdout.write(json.dumps(_told(given.file, given.format, options, given.array_bytes)))
    return 0


def _told(file: Path, format: Format, options: Options, array_bytes: int) -> dict[str, Any]:
    try:
        found = inspect(file, format, options, Limits(array_bytes=array_bytes))
    except LRTunerError as error:
        where = error.where if isinstance(error, InvalidDatasetError) else {}
        return {"problem": str(error), "where": where}
    return {"inspection": found.model_dump(mode="json")}


if __name__ == "__main__":
    sys.exit(main())
