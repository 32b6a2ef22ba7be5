"""`python -m lrtuner.projects FILE`: check a zip file of a project that nobody trusts.

In a process of its own, with limits on its memory and its time, and without writing or running
anything. One JSON object on stdout: `{"files": [[path, bytes], ...]}` or
`{"problem": ..., "where": ...}`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lrtuner.confinement import confine
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.errors import InvalidCodeError
from lrtuner.projects.checking import checked

_MEMORY_BYTES = 1024 * MEBIBYTE


def main() -> int:
    """Check the file; 0 also where it is refused."""
    parser = argparse.ArgumentParser(prog="python -m lrtuner.projects", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=int, default=60, help="of processor time")
    given = parser.parse_args()
    confine(_MEMORY_BYTES, given.seconds)
    sys.stdout.write(json.dumps(_told(given.file)))
    return 0


def _told(file: Path) -> dict[str, Any]:
    try:
        return {"files": checked(file)}
    except InvalidCodeError as error:
        return {"problem": str(error), "where": error.where}


if __name__ == "__main__":
    sys.exit(main())
