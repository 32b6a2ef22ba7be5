"""API keys: who may use the service. The keys themselves are not here, only their hashes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from lrtuner.errors import InvalidInputError, NotFoundError
from lrtuner.keys import KEY_ID, NewKey, Scope
from lrtuner.store.engine import DatabaseClock
from lrtuner.store.tables import api_keys

TOUCH_SECONDS = 60.0
"""How exactly it is known when a key was used last."""


@dataclass(frozen=True)
class KeyRow:
    """A key as it is kept; times are epoch seconds, `now` is when it was looked at.

    Attributes:
        team: whose jobs it sees; a key without a team is a team of its own, named by its id.
        max_queued, max_running, submits_per_minute: its own `quotas`, None where it has none.
    """

    id: str
    name: str
    digest: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    max_queued: int | None
    max_running: int | None
    submits_per_minute: int | None
    team: str
    now: float

    @property
    def status(self) -> Literal["active", "expired", "revoked"]:
        """Whether it can be used."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= self.now:
            return "expired"
        return "active"

    @property
    def used_lately(self) -> bool:
        """Whether its last use need not be written down again."""
        return self.last_used_at is not None and self.now < self.last_used_at + TOUCH_SECONDS


_COMPUTED = {
    "now": DatabaseClock().label("now"),
    "team": sa.func.coalesce(api_keys.c.team, api_keys.c.id).label("team"),
}
_COLUMNS = [
    _COMPUTED[name] if name in _COMPUTED else api_keys.c[name]
    for name in KeyRow.__dataclass_fields__
]


def add_key(
    connection: sa.Connection,
    key: NewKey,
    *,
    name: str,
    scopes: Iterable[Scope],
    seconds: float | None = None,
    team: str | None = None,
    **quotas: int | None,
) -> None:
    """Keep a key; with `seconds` it expires after that time.

    Args:
        team: keys of one team see each other's jobs and uploads.
        quotas: those of `quotas.Quotas` in which it differs from other keys.

    Raises:
        InvalidInputError: the team has the form of a key's id, which names that key's own.
    """
    if team is not None and KEY_ID.fullmatch(team):
        raise InvalidInputError(f"a team cannot be called {team!r}: that is the form of key ids")
    query = sa.insert(api_keys).values(
        id=key.id,
        name=name,
        digest=key.digest,
        scopes=sorted(set(scopes)),
        created_at=DatabaseClock(),
        expires_at=None if seconds is None else DatabaseClock() + seconds,
        team=team,
        **quotas,
    )
    connection.execute(query)


def has_keys(connection: sa.Connection) -> bool:
    """Whether there ever was a key: those that were revoked or have expired count."""
    return connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None


def find_key(connection: sa.Connection, key_id: str) -> KeyRow | None:
    """The key, None if there is none of that id."""
    query = sa.select(*_COLUMNS).where(api_keys.c.id == key_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else KeyRow(*row)


def list_keys(connection: sa.Connection) -> list[KeyRow]:
    """All keys, newest first."""
    query = sa.select(*_COLUMNS).order_by(api_keys.c.created_at.desc(), api_keys.c.id)
    return [KeyRow(*row) for row in connection.execute(query)]


def revoke_key(connection: sa.Connection, key_id: str) -> None:
    """End a key for good; one that was revoked before stays as it is.

    Raises:
        NotFoundError: there is none of that id.
    """
    if find_key(connection, key_id) is None:
        raise NotFoundError(f"there is no key {key_id}")
    query = sa.update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    connection.execute(query.values(revoked_at=DatabaseClock()))


def touch_key(connection: sa.Connection, key_id: str) -> None:
    """Write down that the key is used now, unless that was done within the last minute."""
    lately = api_keys.c.last_used_at > DatabaseClock() - TOUCH_SECONDS
    query = sa.update(api_keys).where(
        api_keys.c.id == key_id, sa.or_(api_keys.c.last_used_at.is_(None), sa.not_(lately))
    )
    connection.execute(query.values(last_used_at=DatabaseClock()))
