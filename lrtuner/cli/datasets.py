"""The commands about datasets of one's own: upload, list, show."""

from pathlib import Path
from typing import Annotated

import typer

from lrtuner.cli.output import note, say, table
from lrtuner.cli.progress import Lines
from lrtuner.client import Client, Dataset
from lrtuner.errors import InvalidInputError
from lrtuner.jsontext import dumps
from lrtuner.words import Rows, clean

_UPLOAD_SECONDS = 600.0
"""The service looks into a file before it answers."""

_MOST_SHOWN = 8

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

_UPLOAD = """\b
Examples:
  lrtuner datasets upload flowers.csv
  lrtuner datasets upload table.csv --target price
  lrtuner datasets upload images.zip --json | jq -r .id
"""


def register(app: typer.Typer) -> None:
    """Add the group of commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Upload and look at your own datasets.",
        epilog="Example:  lrtuner datasets upload flowers.csv",
    )
    group.command("upload", epilog=_UPLOAD)(upload)
    group.command("list", epilog="Example:  lrtuner datasets list")(list_datasets)
    group.command("show", epilog="Example:  lrtuner datasets show sha256:9f...")(show)
    app.add_typer(group, name="datasets")


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to upload.")],
    format: Annotated[
        str | None,
        typer.Option(metavar="F", help="npz, csv, safetensors, parquet, images or text."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The targets; default: the last column.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a dataset and print its id.

    What was found in it goes to stderr. A content that the service has is not sent again, so an
    upload that broke off can simply be repeated.
    """
    if not file.is_file():
        raise InvalidInputError(f"cannot read {file}: there is no such file")
    with _client(timeout=_UPLOAD_SECONDS) as client:
        found = client.upload(file, format=format, target=target)
    if as_json:
        say(_json(found))
        return
    say(found.id)
    note("\n".join(table(_rows(found), indent="")))


def list_datasets(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the uploads, newest first."""
    with _client() as client:
        found = client.datasets(limit)
    if as_json:
        say(dumps([dataset.model_dump(mode="json") for dataset in found], indent=2))
        return
    for dataset in found:
        counted = f"{dataset.inspection.get('num_examples', '?')} examples"
        cells = (dataset.id, dataset.format, counted, dataset.filename or "-")
        say("  ".join(clean(cell) for cell in cells))


def show(
    dataset_id: Annotated[str, typer.Argument(metavar="ID", help="The id that upload printed.")],
    as_json: AsJson = False,
) -> None:
    """Show what is in an upload."""
    with _client() as client:
        found = client.dataset(dataset_id)
    say(_json(found) if as_json else "\n".join(table(_rows(found), indent="")))


def _rows(dataset: Dataset) -> Rows:
    told = dataset.inspection
    rows: Rows = [
        ("dataset", dataset.id),
        ("file", f"{dataset.filename or '-'}, {dataset.format}, {dataset.num_bytes} bytes"),
        ("holds", f"{told.get('num_examples')} examples of {told.get('kind')}"),
        ("task", f"{told.get('task')}, {told.get('num_outputs')} outputs"),
        ("target", str(told.get("target") or "-")),
        ("splits", _listed(told.get("splits"))),
        ("classes", _listed(told.get("class_counts"))),
    ]
    return rows + [("warning", str(warning)) for warning in told.get("warnings", ())]


def _listed(counts: object) -> str:
    """Names with their counts, the first few."""
    if not isinstance(counts, dict) or not counts:
        return "-"
    texts = [f"{name} {count}" for name, count in counts.items()]
    more = f", and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return ", ".join(texts[:_MOST_SHOWN]) + more


def _client(timeout: float = 30.0) -> Client:
    return Client.from_environment(timeout=timeout, on_retry=Lines().trouble)


def _json(dataset: Dataset) -> str:
    return dumps(dataset.model_dump(mode="json"), indent=2)
