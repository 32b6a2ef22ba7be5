"""Run it: see `benchmarks.api`."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import benchmarks.api
from benchmarks.api.claims import claims
from benchmarks.api.databases import PAGE, enqueue, fill, server
from benchmarks.api.requests import against_bare, lists

KINDS = ("sqlite", "postgres")
PARTS = ("lists", "bare", "claims")
WAITING = 10_000


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.api",
        description=benchmarks.api.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both")
    parser.add_argument("--jobs", type=int, default=100_000, help="finished ones")
    parser.add_argument("--only", choices=PARTS, action="append", help="default: all parts")
    parser.add_argument("--requests", type=int, default=200, help="of each kind, to each server")
    parser.add_argument("--claims", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for kind in options.database or KINDS:
        found[kind] = _measured(kind, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def _measured(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    parts = options.only or PARTS
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with server(kind) as make:
        large = make("large")
        fill(large, options.jobs)
        print(f"{kind}, {options.jobs:,} finished jobs, load {found['load']:.1f}", flush=True)
        if "lists" in parts:
            small = make("small")
            fill(small, PAGE + 1)
            repeats = options.requests
            found["lists"] = lists(large, small, count=options.jobs, repeats=repeats)
            _print(found["lists"])
        if "bare" in parts:
            found["bare"] = against_bare(large, repeats=options.requests)
            _print(found["bare"])
        if "claims" in parts:
            alone = make("alone")
            for name, url in (("no finished jobs", alone), ("beside finished jobs", large)):
                enqueue(url, WAITING)
                found[f"claims, {name}"] = claims(url, options.claims)
                _print({f"claims, {name}": found[f"claims, {name}"]})
    return found


def _print(rows: dict[str, dict[str, float]]) -> None:
    for name, values in rows.items():
        cells = "  ".join(f"{key} {value:8.2f}" for key, value in values.items())
        print(f"  {name:32}{cells}", flush=True)


if __name__ == "__main__":
    main()
