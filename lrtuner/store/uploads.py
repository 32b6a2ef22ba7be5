"""What was uploaded: one row per content, with what is in it. The files lie in the data folder.

A content that several teams send is kept once, and each of them holds it: under the name that it
gave, as if nobody else had it. It goes when the last one lets go of it.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from lrtuner.errors import ConflictError, NotFoundError
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import ACTIVE, code, datasets, holders, jobs


@dataclass(frozen=True)
class UploadRow:
    """An upload as others see it; `id` is `sha256:` and the hash of its bytes."""

    seq: int
    id: str
    filename: str | None
    num_bytes: int
    uploaded_at: float


@dataclass(frozen=True)
class DatasetRow(UploadRow):
    """A file of examples, and what was found in it."""

    format: str
    inspection: dict[str, Any]


@dataclass(frozen=True)
class CodeRow(UploadRow):
    """A project of code, and how much is in its archive."""

    num_files: int
    unpacked_bytes: int


_SAID_BY_SENDER = ("seq", "filename", "uploaded_at")

Row = TypeVar("Row", bound=UploadRow)


@dataclass(frozen=True)
class Uploads(Generic[Row]):
    """Uploads of one kind.

    Attributes:
        table: where they are kept.
        row: what is read of each.
        what: one of them in messages.
        field: where the spec of a job names one.
    """

    table: sa.Table
    row: type[Row]
    what: str
    field: tuple[str, str]

    def add(
        self,
        connection: sa.Connection,
        upload_id: str,
        *,
        team: str | None = None,
        filename: str | None,
        **values: Any,
    ) -> None:
        """Keep what a team has uploaded; `values` are the other columns.

        Raises:
            ConflictError: it is there already; the transaction can only be rolled back.
        """
        values |= {"id": upload_id, "filename": filename, "uploaded_at": DatabaseClock()}
        try:
            connection.execute(sa.insert(self.table).values(**values))
        except sa.exc.IntegrityError:
            raise ConflictError(f"{self.what} {upload_id} is there already") from None
        self._hold(connection, upload_id, team, filename)

    def share(
        self, connection: sa.Connection, upload_id: str, *, team: str | None, filename: str | None
    ) -> bool:
        """Let a team that has sent it, too, hold an upload; False if it did already.

        Raises:
            NotFoundError: there is none of that id.
        """
        if self.find(connection, upload_id, hold=True) is None:
            raise self._missing(upload_id)
        if connection.execute(sa.select(sa.exists().where(*self._held(upload_id, team)))).scalar():
            return False
        try:
            with connection.begin_nested():
                self._hold(connection, upload_id, team, filename)
        except sa.exc.IntegrityError:  # sent twice at once
            return False
        return True

    def find(
        self,
        connection: sa.Connection,
        upload_id: str,
        *,
        team: str | None = None,
        hold: bool = False,
    ) -> Row | None:
        """The upload, None if there is none of that id.

        Args:
            team: who asks: only what it holds is there. None: all is.
            hold: nobody can delete it before the end of the transaction.
        """
        query = self._select(team).where(self.table.c.id == upload_id)
        if hold:
            query = query.with_for_update(read=True, of=self.table)
        row = connection.execute(query).one_or_none()
        return None if row is None else self.row(*row)

    def get(self, connection: sa.Connection, upload_id: str, *, team: str | None = None) -> Row:
        """The upload, see `find`.

        Raises:
            NotFoundError: there is none of that id.
        """
        found = self.find(connection, upload_id, team=team)
        if found is None:
            raise self._missing(upload_id)
        return found

    def page(
        self,
        connection: sa.Connection,
        *,
        team: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Row]:
        """Uploads, newest first; with `before`, those with a lower `seq`."""
        seq = self._columns(team)["seq"]
        query = self._select(team).order_by(seq.desc()).limit(limit)
        if before is not None:
            query = query.where(seq < before)
        return [self.row(*row) for row in connection.execute(query)]

    def delete(
        self, connection: sa.Connection, upload_id: str, *, team: str | None = None
    ) -> Row | None:
        """Let go of an upload; what was there, or None if it stays because others have it.

        The file of what was there is the caller's to remove.

        Args:
            team: who lets go of it. None: it goes whoever holds it.

        Raises:
            NotFoundError: there is none of that id.
            ConflictError: a job that is not finished uses it; one of that team.
        """
        # The row first: a job that is being submitted holds it, or waits and then finds it gone.
        query = self._select(team).where(self.table.c.id == upload_id)
        row = connection.execute(query.with_for_update(of=self.table)).one_or_none()
        if row is None:
            raise self._missing(upload_id)
        user = self._user(connection, upload_id, *([jobs.c.team == team] if team else []))
        if user is not None:
            raise ConflictError(f"job {user} uses {self.what} {upload_id} and is not finished")
        held = self._held(upload_id, team) if team else self._held_by_any(upload_id)
        connection.execute(sa.delete(holders).where(*held))
        others = sa.select(sa.exists().where(*self._held_by_any(upload_id)))
        if connection.execute(others).scalar() or self._user(connection, upload_id):
            return None
        connection.execute(sa.delete(self.table).where(self.table.c.id == upload_id))
        return self.row(*row)

    def _user(
        self, connection: sa.Connection, upload_id: str, *conditions: sa.ColumnElement[bool]
    ) -> str | None:
        """A job that is not finished and uses it."""
        uses = jobs.c.spec[self.field].as_string() == upload_id
        query = sa.select(jobs.c.id).where(ACTIVE, uses, *conditions).limit(1)
        found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def _hold(
        self, connection: sa.Connection, upload_id: str, team: str | None, filename: str | None
    ) -> None:
        told = {"upload_id": upload_id, "team": team or "", "kind": self.table.name}
        values = told | {"filename": filename, "uploaded_at": DatabaseClock()}
        connection.execute(sa.insert(holders).values(values))

    def _held(self, upload_id: str, team: str | None) -> list[sa.ColumnElement[bool]]:
        return [*self._held_by_any(upload_id), holders.c.team == (team or "")]

    def _held_by_any(self, upload_id: str) -> list[sa.ColumnElement[bool]]:
        return [holders.c.upload_id == upload_id, holders.c.kind == self.table.name]

    def _select(self, team: str | None) -> sa.Select[Any]:
        query = sa.select(*self._columns(team).values())
        if team is None:
            return query
        mine = sa.and_(
            holders.c.upload_id == self.table.c.id,
            holders.c.kind == self.table.name,
            holders.c.team == team,
        )
        return query.join(holders, mine)

    def _columns(self, team: str | None) -> dict[str, sa.ColumnElement[Any]]:
        """What is read of an upload; what its sender said of it from that team."""
        names = self.row.__dataclass_fields__
        own = _SAID_BY_SENDER if team is not None else ()
        return {name: (holders if name in own else self.table).c[name] for name in names}

    def _missing(self, upload_id: str) -> NotFoundError:
        return NotFoundError(f"there is no {self.what} {upload_id}")


DATASETS = Uploads(datasets, DatasetRow, "dataset", ("dataset", "id"))
CODE = Uploads(code, CodeRow, "code", ("model", "id"))


def files_of_code(connection: sa.Connection, code_id: str) -> list[tuple[str, int]]:
    """The path and the size in bytes of every file in a project.

    Raises:
        NotFoundError: there is none of that id.
    """
    query = sa.select(code.c.files).where(code.c.id == code_id)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"there is no code {code_id}")
    return [(path, num_bytes) for path, num_bytes in found]
