"""The commands about code of one's own: list, show, and what `submit --code` does."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lrtuner.cli.output import note, say, table
from lrtuner.cli.progress import Lines
from lrtuner.client import Client, Project
from lrtuner.datasets.folder import sha256
from lrtuner.errors import InvalidInputError
from lrtuner.jsontext import dumps
from lrtuner.projects import Packed, contents, pack
from lrtuner.words import Rows, clean

_UPLOAD_SECONDS = 600.0
"""The service looks into an archive before it answers."""

_MOST_SHOWN = 8
_LONGEST_NAME = 200

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Look at your own uploaded code.",
        epilog="Example:  lrtuner code list; upload it with  lrtuner submit job.json --code .",
    )
    group.command("list", epilog="Example:  lrtuner code list")(list_code)
    group.command("show", epilog="Example:  lrtuner code show sha256:9f...")(show)
    app.add_typer(group, name="code")


def with_code(spec: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """The job with `project`, a folder or a zip file, as its model; uploaded where it was not.

    Raises:
        InvalidInputError: the job's model is something else, or there is no such project.
    """
    model = spec.get("model", {"source": "code"})
    if not isinstance(model, Mapping) or model.get("source") != "code":
        told = 'a job that is submitted with --code needs "model": {"source": "code"}'
        raise InvalidInputError(f"{told}, not {dumps(model)[:200]}")
    with tempfile.TemporaryDirectory(prefix="lrtuner-code-") as folder:
        archive = project if project.is_file() else Path(folder) / "project.zip"
        packed = Packed(contents(archive), []) if project.is_file() else pack(project, archive)
        code_id = sha256(archive)
        if model.get("id") not in (None, code_id):
            told = f"it names {model['id']}, but {project} is {code_id}: leave model.id out"
            raise InvalidInputError(f"--code does not fit the job: {told}")
        _tell(packed, project)
        note(f"{code_id} {_arrived(archive, code_id, project)}")
    return {**spec, "model": {**model, "id": code_id}}


def list_code(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the uploaded projects, newest first."""
    with _client() as client:
        found = client.list_code(limit)
    if as_json:
        say(dumps([_data(project) for project in found], indent=2))
        return
    for project in found:
        files = _counted(project.num_files, "file")
        cells = (project.id, files, f"{project.unpacked_bytes} bytes", project.filename or "-")
        say("  ".join(clean(cell) for cell in cells))


def show(
    code_id: Annotated[str, typer.Argument(metavar="ID", help="The id that submit printed.")],
    as_json: AsJson = False,
) -> None:
    """Show what is in an uploaded project."""
    with _client() as client:
        found = client.code(code_id)
    say(dumps(_data(found), indent=2) if as_json else "\n".join(table(_rows(found), indent="")))


def _arrived(archive: Path, code_id: str, project: Path) -> str:
    with _client(timeout=_UPLOAD_SECONDS) as client:
        if client.has_code(code_id):
            return "is there already"
        client.upload_code(archive, filename=_name(project))
        return "uploaded"


def _name(project: Path) -> str | None:
    """What the project is called, where the service takes such a name."""
    name = project.resolve().name
    fits = name.isprintable() and not set("\\:") & set(name) and 0 < len(name) <= _LONGEST_NAME
    return name if fits else None


def _tell(packed: Packed, project: Path) -> None:
    sizes = [f"{path} ({num_bytes})" for path, num_bytes in packed.files]
    counted = f"{_counted(len(packed.files), 'file')}, {packed.num_bytes} bytes"
    rows = [("packed", f"{counted}, from {project}"), ("files", _shortened(sizes))]
    if packed.left_out:
        rows.append(("left out", _shortened([f"{p}: {why}" for p, why in packed.left_out])))
    note("\n".join(table(rows, indent="")))


def _rows(project: Project) -> Rows:
    rows: Rows = [
        ("code", project.id),
        ("name", project.filename or "-"),
        ("uploaded", project.uploaded_at or "-"),
        ("zip file", f"{project.num_bytes} bytes"),
        ("holds", f"{_counted(project.num_files, 'file')}, {project.unpacked_bytes} bytes"),
    ]
    return rows + [(" ", f"{file.path}  {file.num_bytes}") for file in project.files]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _shortened(texts: list[str]) -> str:
    more = f", and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return ", ".join(texts[:_MOST_SHOWN]) + more


def _data(project: Project) -> dict[str, object]:
    return project.model_dump(mode="json", exclude_unset=True)


def _client(timeout: float = 30.0) -> Client:
    return Client.from_environment(timeout=timeout, on_retry=Lines().trouble)
