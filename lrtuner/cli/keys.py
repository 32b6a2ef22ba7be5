"""The commands about API keys; they work on the database, so only its operator can use them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrtuner.cli.output import note, say, table
from lrtuner.cli.processes import require_database
from lrtuner.errors import InvalidInputError
from lrtuner.jsontext import dumps
from lrtuner.keys import Scope, new_key
from lrtuner.words import clean

if TYPE_CHECKING:
    from lrtuner.store import Database
    from lrtuner.store.keys import KeyRow

_DAY_SECONDS = 86400.0
_LONGEST_NAME = 200
_MOST = 1_000_000
_QUOTAS = ("max_queued", "max_running", "submits_per_minute")

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

_CREATE = """\b
Examples:
  lrtuner keys create --name ci --scope read --scope submit --days 90
  lrtuner keys create --name alice --scope admin
  lrtuner keys create --name nightly --team vision --max-running 2 --scope read --scope submit
"""


def register(app: typer.Typer) -> None:
    """Add the group of commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Make, list and revoke API keys (for the operator: on the database itself).",
        epilog="Example:  lrtuner keys create --name ci --scope read --scope submit",
    )
    group.command("create", epilog=_CREATE)(create)
    group.command("list", epilog="Example:  lrtuner keys list")(list_keys)
    group.command("revoke", epilog="Example:  lrtuner keys revoke mfzwizltoq2x")(revoke)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Option(help="Whose key it is, or what for.")],
    scope: Annotated[
        list[Scope], typer.Option(help="What it may do: read, submit, code or admin; repeat it.")
    ],
    days: Annotated[
        float | None, typer.Option(min=0.001, max=36500, help="It expires after that time.")
    ] = None,
    team: Annotated[
        str | None, typer.Option(help="Keys of one team see each other's jobs and uploads.")
    ] = None,
    max_queued: Annotated[
        int | None, typer.Option(min=1, max=_MOST, help="Most of its jobs that may wait.")
    ] = None,
    max_running: Annotated[
        int | None, typer.Option(min=1, max=_MOST, help="Most of its jobs that run at a time.")
    ] = None,
    submits_per_minute: Annotated[
        int | None, typer.Option(min=1, max=_MOST, help="Most jobs that it may submit a minute.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: nobody can look it up later.

    From the first key on, every request needs one. Quotas that are left out are those of the
    service's settings.
    """
    _check_text("--name", name)
    if team is not None:
        _check_text("--team", team)
    key = new_key()
    seconds = None if days is None else days * _DAY_SECONDS
    with _database() as (database, keys), database.writing() as connection:
        is_first = not keys.has_keys(connection)
        keys.add_key(
            connection,
            key,
            name=name,
            scopes=scope,
            seconds=seconds,
            team=team,
            max_queued=max_queued,
            max_running=max_running,
            submits_per_minute=submits_per_minute,
        )
        row = keys.find_key(connection, key.id)
    say(dumps({"key": key.text, **_data(row)}, indent=2) if as_json else key.text)
    note("\n".join(table([("key", key.id), *_rows(row)], indent="")))
    note("Keep it now: only its hash is stored. Clients send it from LRTUNER_API_KEY.")
    if is_first:
        note("It is the first one: from now on every request needs a key.")


def list_keys(as_json: AsJson = False) -> None:
    """List all keys, newest first; the keys themselves are not known."""
    with _database() as (database, keys), database.reading() as connection:
        rows = keys.list_keys(connection)
    if as_json:
        say(dumps([_data(row) for row in rows], indent=2))
        return
    for row in rows:
        told = dict(_rows(row))
        used = f"used {told['last used']}"
        team = [f"team {told['team']}"] if "team" in told else []
        cells = (row.id, row.status, told["scopes"], used, *team, row.name)
        say("  ".join(clean(cell) for cell in cells))


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `list` shows it.")],
) -> None:
    """End a key within a second, and for good."""
    with _database() as (database, keys), database.writing() as connection:
        keys.revoke_key(connection, key_id)
    say(f"{key_id} is revoked")


def _check_text(option: str, text: str) -> None:
    if not text.isprintable() or not 0 < len(text) <= _LONGEST_NAME:
        raise InvalidInputError(f"{option} must have 1 to {_LONGEST_NAME} printable characters")


@contextmanager
def _database() -> Iterator[tuple["Database", Any]]:
    """The database, and the module with what can be done to its keys."""
    require_database()
    from lrtuner.settings import url_from_environment  # noqa: PLC0415
    from lrtuner.store import keys, level, open_database  # noqa: PLC0415

    database = open_database(url_from_environment())
    try:
        if not level.is_migrated(database):
            told = "the database does not have the schema of this version: run `lrtuner migrate`"
            raise InvalidInputError(told)
        yield database, keys
    finally:
        database.close()


def _rows(row: "KeyRow") -> list[tuple[str, str]]:
    return [
        ("name", row.name),
        ("scopes", ",".join(row.scopes)),
        ("created", _time(row.created_at)),
        ("expires", _time(row.expires_at)),
        ("last used", _time(row.last_used_at)),
        *((name.replace("_", " "), str(own)) for name, own in _own(row).items() if own),
    ]


def _data(row: "KeyRow") -> dict[str, object]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    told = {name: getattr(row, name) for name in times}
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "scopes": row.scopes,
        **_own(row),
        **{name: None if seconds is None else _time(seconds) for name, seconds in told.items()},
    }


def _own(row: "KeyRow") -> dict[str, str | int | None]:
    """What other keys may have in another way: the team, None if it is in none, and quotas."""
    team = None if row.team == row.id else row.team
    return {"team": team, **{name: getattr(row, name) for name in _QUOTAS}}


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
