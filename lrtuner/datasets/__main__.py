"""`python -m lrtuner.datasets FORMAT FILE ...`: inspect a file that nobody trusts.

In a process of its own, with limits on its memory and its time, so that neither a file that is
larger inside than outside nor one that breaks a decoder hurts anybody else. It writes nothing but
arrays that are too large for its memory, into files without a name.
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
    parser.add_argument("--preload-bytes", type=int, default=Limits().preload_bytes)
    parser.add_argument("--scratch", type=Path, help="the folder of arrays above that")
    parser.add_argument("--seconds", type=int, default=300, help="of processor time")
    given = parser.parse_args()
    memory = _COPIES * min(given.array_bytes, given.preload_bytes) + _ROOM_BYTES
    on_disk = given.array_bytes if given.preload_bytes < given.array_bytes else 0
    confine(memory, given.seconds, on_disk)
    limits = Limits(
        array_bytes=given.array_bytes, preload_bytes=given.preload_bytes, scratch=given.scratch
    )
    told = _told(given.file, given.format, Options(target=given.target), limits)
    sys.stdout.write(json.dumps(told))
    return 0


def _told(file: Path, format: Format, options: Options, limits: Limits) -> dict[str, Any]:
    try:
        found = inspect(file, format, options, limits)
    except LRTunerError as error:
        where = error.where if isinstance(error, InvalidDatasetError) else {}
        return {"problem": str(error), "where": where}
    return {"inspection": found.model_dump(mode="json")}


if __name__ == "__main__":
    sys.exit(main())
