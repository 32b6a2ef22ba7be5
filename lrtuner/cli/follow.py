"""From a job file to a job, and from a job to its result."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from lrtuner.cli.gate import Gate
from lrtuner.cli.output import STDOUT, ExitCode, note, save, say, table
from lrtuner.cli.progress import display
from lrtuner.client import Client, Job, ServerUnreachableError, WaitTimeoutError
from lrtuner.document import ScheduleDocument, load
from lrtuner.errors import InvalidInputError, JobFailedError
from lrtuner.jsontext import dumps
from lrtuner.lifecycle import JobStatus
from lrtuner.words import provenance_rows, schedule_rows, title, verdict_rows

_NO_EVIDENCE = ("self", "cancel")


def read_spec(source: str) -> dict[str, Any]:
    """The JSON object in the file `source`, or on stdin for `-`; what it says is not looked at.

    Raises:
        InvalidInputError: it cannot be read, or is no JSON object; the message says where.
    """
    name = "stdin" if source == "-" else source
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        spec = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse)
    except OSError as error:
        raise InvalidInputError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{name} is not UTF-8 text: byte {error.start}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInputError(f"{name} is not JSON: {where}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{name} is not JSON: {error}") from None
    if not isinstance(spec, dict):
        raise InvalidInputError(f"{name} must hold a JSON object, not a {type(spec).__name__}")
    return spec


def follow(
    job_id: str,
    *,
    timeout: float | None,
    output: str | None,
    as_json: bool,
    gate: Gate | None = None,
) -> None:
    """Wait for a job, write its recommendation to `output`, sum it up, and ask the gate.

    Raises:
        JobFailedError: it ended without a recommendation.
    """
    job = _wait(job_id, timeout, resume_command(job_id, output, gate))
    succeeded = job.status is JobStatus.SUCCEEDED
    if as_json and not (gate and succeeded):
        say(dumps(_data(job), indent=2))
    if not succeeded:
        raise JobFailedError(_failure(job))
    if as_json and output is None and gate is None:
        return
    with Client.from_environment(on_retry=note) as client:
        content = client.recommendation(job.id)
        url = client.url
    document = _recommended(_parsed(content))
    if output:
        save(output, content)
    tell = note if as_json or output == STDOUT else say
    tell("\n".join(summary(document, job, url, output)))
    if gate:
        found = gate.judge(document)
        if as_json:
            say(dumps({**_data(job), "comparison": found.model_dump()}, indent=2))
        gate.enforce(found, tell)


def summary(document: ScheduleDocument, job: Job, url: str, output: str | None) -> list[str]:
    """What came out, how sure it is, what it cost, where the evidence is, what to do next."""
    rows = verdict_rows(document.verdict) if document.verdict else []
    file = None if output == STDOUT else output
    lines = ["", f"Recommended schedule: {title(document)}"]
    lines += table([*schedule_rows(document), *rows, *provenance_rows(document)])
    if evidence := _evidence(job, url):
        lines += ["", "Evidence", *table(evidence)]
    if file:
        lines += ["", f"Written to {file}"]
    lines += ["", "Next", *(f"  {command}" for command in _next(job.id, file))]
    return lines


def resume_command(job_id: str, output: str | None, gate: Gate | None = None) -> str:
    """The command that goes on waiting."""
    rest = ["--output", output] if output else []
    return shlex.join(["lrtuner", "wait", job_id, *rest, *(gate.options if gate else [])])


def _wait(job_id: str, timeout: float | None, resume: str) -> Job:
    try:
        with display() as shown, Client.from_environment(on_retry=shown.trouble) as client:
            return client.wait(job_id, timeout, on_event=shown.event, on_job=shown.job)
    except KeyboardInterrupt:
        note("stopped waiting; the job goes on")
        note(
            f"  resume with  {resume}\n  stop it with  {shlex.join(['lrtuner', 'cancel', job_id])}"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (WaitTimeoutError, ServerUnreachableError):
        note(f"resume with: {resume}")
        raise


def _data(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json", exclude_unset=True)


def _failure(job: Job) -> str:
    ended = "was cancelled" if job.status is JobStatus.CANCELLED else str(job.status)
    reason = f": {job.error}" if job.error else ""
    return f"job {job.id} {ended} without a recommendation{reason}"


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServerUnreachableError("the recommendation that was downloaded is no JSON object")
    return document


def _recommended(data: dict[str, Any]) -> ScheduleDocument:
    document = load(data)
    if isinstance(document, ScheduleDocument):
        return document
    raise ServerUnreachableError(f"a recommendation of the kind {document.kind!r} was downloaded")


def _evidence(job: Job, url: str) -> list[tuple[str, str]]:
    links = {name: link for name, link in job.links.items() if isinstance(link, str)}
    return [
        (name.replace("_", " "), url + link if link.startswith("/") else link)
        for name, link in links.items()
        if name not in _NO_EVIDENCE
    ]


def _next(job_id: str, file: str | None) -> list[str]:
    if file is None:
        return [shlex.join(["lrtuner", "download", job_id])]
    return [
        shlex.join(["lrtuner", "show", file]),
        shlex.join(["lrtuner", "export", file, "--format", "torch"]),
    ]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
