"""The command; see the package."""

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import benchmarks.faults
from benchmarks.faults.databases import KINDS, fresh
from benchmarks.faults.running import Plan, run, to_stderr, told


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing was lost, doubled, stale, left or different, and every guard had to act."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=benchmarks.faults.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="how many faults")
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--runner", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="decides which faults, and to whom")
    parser.add_argument(
        "--pause",
        type=float,
        metavar="SECONDS",
        help="the most between two faults (default: a worker is hit twice in a job's time)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there, too")
    options = parser.parse_args(arguments)
    if options.kills < 1 or options.workers < 1:
        parser.error("--kills and --workers must be at least 1")
    if options.runner == "ray" and not _has_ray():
        parser.error("--runner ray needs Ray: pip install 'lrtuner[ray]'")
    plan = Plan(options.kills, options.runner, options.workers, options.seed, pause=options.pause)
    with tempfile.TemporaryDirectory(prefix="lrtuner-faults-") as name:
        folder = Path(name)
        with fresh(options.database, folder) as url:
            outcome = run(plan, url, folder, to_stderr)
    sys.stdout.write(f"{options.database}, {options.runner}: {told(outcome)}\n")
    if options.json:
        options.json.write_text(json.dumps(outcome.document(), indent=1) + "\n")
    return 0 if outcome.faultless and not outcome.untested else 1


def _has_ray() -> bool:
    return importlib.util.find_spec("ray") is not None


if __name__ == "__main__":
    sys.exit(main())
