"""`python -m worker.find JOB.json`: the range test alone, without a service; JSON on stdout.

The same job gives the same bytes: everything random follows from its seed, and no time is in it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lrtuner import __version__
from lrtuner.errors import InvalidInputError, LRTunerError
from lrtuner.job import JobSpec
from lrtuner.jsontext import dumps
from worker.device import choose_device, environment, prepare
from worker.range_test import run_range_test
from worker.settings import Settings
from worker.task import make_task

INVALID = 2


def main() -> int:
    """Run the range test of the job in a file; progress on stderr, the result on stdout."""
    parser = argparse.ArgumentParser(prog="python -m worker.find", description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        result = found(read(arguments.job, arguments.code), Settings().device, arguments.code)
        sys.stdout.write(dumps(result, indent=2) + "\n")
    except LRTunerError as error:
        sys.stderr.write(f"{error}\n")
        return INVALID
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What names a job and its code."""
    parser.add_argument("job", type=Path, metavar="JOB.json", help="a job, as for submit")
    parser.add_argument("--code", type=Path, metavar="FOLDER", help="the project with lrtune.py")


def read(path: Path, code: Path | None = None) -> JobSpec:
    """The job in the file; with `code` its model is that, where it names none.

    Raises:
        InvalidInputError: it cannot be read or is not valid; the message names the fields.
    """
    try:
        return JobSpec.model_validate_json(_with_model(path.read_bytes(), code))
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        problems = error.errors(include_url=False)
        told = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
        raise InvalidInputError(f"{path} is not a valid job: {told}") from None


def _with_model(text: bytes, code: Path | None) -> bytes:
    try:
        spec = json.loads(text)
    except ValueError:
        return text
    if code is None or not isinstance(spec, dict):
        return text
    return json.dumps({"model": {"source": "code"}, **spec}).encode()


def found(spec: JobSpec, device_name: str, code: Path | None = None) -> dict[str, Any]:
    """The job's range test alone as plain data: enough to redraw every plot."""
    device = choose_device(device_name)
    prepare(device)
    search = spec.search.model_copy(update={"mode": "range_test"})
    spec = spec.model_copy(update={"search": search})
    task = make_task(spec, device, code)
    result = run_range_test(task, _tell)
    about = environment(device, task.data.digest())
    return {
        "kind": "range_test",
        "tool_version": __version__,
        "environment": about.model_dump(mode="json"),
        "job": json.loads(spec.model_dump_json(by_alias=True)),
        **result.model_dump(mode="json"),
    }


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    sys.exit(main())
