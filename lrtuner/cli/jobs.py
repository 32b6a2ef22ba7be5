"""The commands of a job's life: submit, wait, status, cancel, download, jobs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lrtuner.cli.code import with_code
from lrtuner.cli.follow import follow, read_spec, resume_command
from lrtuner.cli.gate import OPTION, FailIfWorseThan, Strict, gate_of
from lrtuner.cli.history import Labels, labels_of
from lrtuner.cli.output import STDOUT, columns, note, require_writable, save, say, table
from lrtuner.cli.progress import Lines, progress_line, stage
from lrtuner.client import Client, Job, ProblemError
from lrtuner.errors import InvalidInputError
from lrtuner.export import EXPORTERS
from lrtuner.jsontext import dumps
from lrtuner.lifecycle import JobStatus
from lrtuner.words import Rows, clean

DEFAULT_OUTPUT = "schedule.json"

JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="The id that submit printed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the job as JSON.")]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Stop waiting after this time; the job goes on."),
]
Output = Annotated[
    str | None, typer.Option(metavar="FILE", help="Where to write the config; - is stdout.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(epilog=_SUBMIT)(submit)
    app.command(epilog="Example:  lrtuner wait job_4f... --timeout 600")(wait)
    app.command(epilog="Example:  lrtuner status job_4f... --json | jq .progress")(status)
    app.command(epilog="Example:  lrtuner cancel job_4f...")(cancel)
    app.command(epilog=_DOWNLOAD)(download)
    app.command(epilog="Example:  lrtuner jobs --status running --status queued")(jobs)


_DOWNLOAD = """\b
Examples:
  lrtuner download job_4f... --format torch
  lrtuner download --latest --name resnet-prod
"""

_SUBMIT = """\b
Examples:
  lrtuner submit job.json
  lrtuner submit job.json --wait --timeout 1800 --output schedule.json
  lrtuner submit job.json --wait --fail-if-worse-than schedule.json --output new.json
  lrtuner submit job.json --code . --wait
  lrtuner submit job.json --metadata commit=$(git rev-parse HEAD)
  generate-job | lrtuner submit - --json | jq -r .id

\b
A job file needs at least:
  {"model":     {"source": "builtin", "name": "mlp"},
   "dataset":   {"source": "builtin", "name": "digits"},
   "optimizer": {"name": "sgd", "args": {"momentum": 0.9}},
   "training":  {"batch_size": 64, "epochs": 20}}
"""


def submit(
    job_file: Annotated[
        str, typer.Argument(metavar="JOB.json", help="What to tune; - reads stdin.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the result, and write it to --output.")
    ] = False,
    code: Annotated[
        Path | None,
        typer.Option(
            "--code",
            metavar="FOLDER",
            help="The project that is the model: a folder with lrtune.py, or a zip file.",
        ),
    ] = None,
    output: Output = None,
    timeout: Timeout = None,
    fail_if_worse_than: FailIfWorseThan = None,
    strict: Strict = False,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Label the job, beside its own metadata."),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Run it although the same question was answered before."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job and print its id.

    A job that asks the same as one that has succeeded (all but its name, labels, priority and
    deadline) is answered with that one, which is said on stderr.

    With --code, the folder is packed (what .gitignore leaves out stays here) and uploaded unless
    the service has it, and the job's model gets its id; what was packed is said on stderr.

    With --wait, progress goes to stderr; the recommended schedule is written to --output
    (schedule.json if not given) and summed up on stdout. The exit code is 1 if the job does not
    succeed, 4 if it has not finished in time.

    With --fail-if-worse-than, that schedule is the job's baseline, and the best one that is found
    runs in pairs with it, on seeds that nothing was chosen by. The exit code is 3 if the new one is
    worse: the 95 % interval of the difference excludes zero, or it did not train to its end. Where
    the pairs do not tell, that is a warning; with --strict it is 3 as well. The recommendation is
    written either way: it is the schedule in use itself if nothing came out ahead of it. Such a job
    is never answered from the cache.
    """
    if not wait and (output is not None or timeout is not None):
        raise InvalidInputError("--output and --timeout need --wait")
    if not wait and fail_if_worse_than is not None:
        raise InvalidInputError(f"{OPTION} needs --wait")
    gate = gate_of(fail_if_worse_than, strict)
    target = output or DEFAULT_OUTPUT
    if wait:
        _check_output(target, as_json)
    spec = read_spec(job_file)
    if code is not None:
        spec = with_code(spec, code)
    if metadata:
        spec = _labelled(spec, labels_of(metadata))
    if gate:
        spec = gate.into(spec)
    with _client() as client:
        try:
            # what a gate asks for is a comparison made now, not the one of an earlier commit
            job = client.submit(spec, use_cache=not (no_cache or gate))
        except ProblemError as error:
            if gate:
                gate.explain(error)
            raise
    if job.cached:
        note(_from_cache(job, spec))
    if not wait:
        say(_json(job) if as_json else job.id)
        if not job.cached:
            note(f"{job.status}; wait for it with: {resume_command(job.id, None)}")
        return
    announce = note if as_json or target == STDOUT else say
    announce(job.id)
    follow(job.id, timeout=timeout, output=target, as_json=as_json, gate=gate)


def wait(
    job_id: JobId,
    output: Output = None,
    timeout: Timeout = None,
    fail_if_worse_than: FailIfWorseThan = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Wait until a job has finished, and sum up its result.

    Progress goes to stderr. The exit code is 0 if the job succeeded, 1 if it failed, was cancelled
    or expired, 4 if it has not finished in time. With --fail-if-worse-than, for a job that was
    submitted with it, 3 as there.
    """
    gate = gate_of(fail_if_worse_than, strict)
    if output:
        _check_output(output, as_json)
    if gate:
        with _client() as client:
            gate.require(client.job(job_id))
    follow(job_id, timeout=timeout, output=output, as_json=as_json, gate=gate)


def status(job_id: JobId, as_json: AsJson = False) -> None:
    """Show how a job stands."""
    with _client() as client:
        job = client.job(job_id)
    if as_json:
        say(_json(job))
        return
    rows: Rows = [
        ("job", job.id),
        ("name", job.name or "-"),
        ("status", str(job.status)),
        ("phase", stage(job) if job.status is JobStatus.RUNNING else "-"),
        ("progress", progress_line(job) or "-"),
    ]
    for name in ("queued_at", "started_at", "finished_at"):
        rows.append((name.removesuffix("_at"), getattr(job, name) or "-"))
    if job.attempts > 1:
        rows.append(("attempts", str(job.attempts)))
    if job.verdict:
        rows.append(("found", job.verdict.title))
        rows.append(("verdict", (job.verdict.status or "none").replace("_", " ")))
    if job.error:
        rows.append(("error", str(job.error)))
    say("\n".join(table(rows, indent="")))


def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Ask a job to stop.

    What it has measured so far is kept.
    """
    with _client() as client:
        job = client.cancel(job_id)
    say(_json(job) if as_json else str(job.status))


def download(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB_ID]", help="The id that submit printed.")
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="That of the newest job that succeeded, instead.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --latest: of jobs of this name.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata", metavar="KEY=VALUE", help="With --latest: of jobs with this label."
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="F", help="json, csv, torch, ...")
    ] = "json",
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Where to write it; - is stdout. Default: a name by its format."
        ),
    ] = None,
) -> None:
    """Download the recommended schedule: of a job, or the latest of a name."""
    labels = labels_of(metadata)
    if latest is (job_id is not None):
        raise InvalidInputError("give either a JOB_ID or --latest")
    if latest is not bool(name is not None or labels):
        raise InvalidInputError("--latest and --name or --metadata go together")
    target = output or _filename(format)
    require_writable(target)
    with _client() as client:
        if job_id is None:
            content = client.latest(name, labels, format)
        else:
            content = client.recommendation(job_id, format)
    save(target, content)
    if target != STDOUT:
        say(target)


def jobs(
    status: Annotated[
        list[JobStatus] | None,
        typer.Option(metavar="STATUS", help=f"One of {', '.join(JobStatus)}; may be repeated."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only jobs of exactly this name.")
    ] = None,
    metadata: Labels = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the jobs as a JSON list.")] = False,
) -> None:
    """List jobs, newest first."""
    with _client() as client:
        found = client.jobs(status or (), limit, name=name, metadata=labels_of(metadata))
    if as_json:
        say(dumps([_data(job) for job in found], indent=2))
        return
    lines = [("JOB", "STATUS", "QUEUED", "NAME", "PROGRESS")]
    lines += [
        (job.id, str(job.status), job.queued_at or "-", job.name or "-", progress_line(job) or "-")
        for job in found
    ]
    say("\n".join(columns(lines)))


def _client() -> Client:
    return Client.from_environment(on_retry=Lines().trouble)


def _labelled(spec: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    own = spec.get("metadata") or {}
    if not isinstance(own, dict):
        raise InvalidInputError(f"metadata must be an object, not {own!r}")
    return {**spec, "metadata": {**own, **labels}}


def _check_output(output: str, as_json: bool) -> None:
    if as_json and output == STDOUT:
        raise InvalidInputError("--json and --output - both write to stdout: give one of them")
    require_writable(output)


def _from_cache(job: Job, asked: Mapping[str, Any]) -> str:
    name = f" ({clean(job.name)})" if job.name else ""
    when = clean(job.finished_at or "before")
    told = f"answered from the cache: job {job.id}{name} of {when} (--no-cache asks anew)"
    if (asked.get("name"), asked.get("metadata") or {}) == (job.name, job.metadata):
        return told
    return f"{told}; it keeps its own name and labels, by which history and --latest find it"


def _filename(format: str) -> str:
    if format in EXPORTERS:
        return EXPORTERS[format].filename
    # The service may know more formats than this version; it refuses those that nobody knows.
    return "schedule." + re.sub(r"[^a-z0-9_]", "", format.lower())


def _data(job: Job) -> dict[str, object]:
    return job.model_dump(mode="json", exclude_unset=True)


def _json(job: Job) -> str:
    return dumps(_data(job), indent=2)
