"""Examine what the API is told: `python -m service.doctor`; JSON on stdout. Nothing is changed."""

import ipaddress
import sys
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from lrtuner.diagnosis import Diagnosis, Examination, fine, invalid_settings, warned, wrong
from lrtuner.errors import InvalidInputError, LRTunerError
from lrtuner.settings import from_environment, variable
from lrtuner.store import keys, open_database
from lrtuner.store.engine import file_of, parsed_url
from lrtuner.store.keys import KeyRow
from lrtuner.store.level import is_migrated
from lrtuner.words import plural
from service.access import is_local
from service.addresses import is_allowed, networks
from service.settings import Auth, Settings

_CREATE = "`lrtuner keys create --name admin --scope admin`"
_ADMIN = f"{_CREATE} makes the first one"
_SOON_DAYS = 7.0
_DAY_SECONDS = 86400.0

#: Where clouds hand out the credentials of a machine to whoever asks from it.
_METADATA = [ipaddress.ip_address(a) for a in ("169.254.169.254", "168.63.129.16", "fd00:ec2::254")]


def diagnose() -> list[Diagnosis]:
    """All that can be said of the API's settings."""
    try:
        settings = from_environment(Settings)
    except InvalidInputError as error:
        return invalid_settings(error)
    try:
        known = _keys(settings)
    except InvalidInputError as error:
        return invalid_settings(error)
    except LRTunerError:  # the database has its own examination
        return [*webhooks(settings)]
    return [access(settings, known), *webhooks(settings)]


def access(settings: Settings, known: Collection[KeyRow]) -> Diagnosis:
    """Who may use the service; `known` are all keys that ever were."""
    if known:
        return _with_keys([key for key in known if key.status == "active"], len(known))
    beyond = not is_local(urlsplit(settings.public_url).hostname)
    if settings.auth is Auth.OPEN:
        told = (
            "LRTUNER_AUTH=open and there is no API key: whoever reaches the API may do everything"
        )
        remedy = f"set LRTUNER_AUTH=required; {_ADMIN}"
        if beyond:
            return wrong("access", f"{told}, also at {settings.public_url}", remedy)
        return warned("access", told, f"let it listen on a loopback address only, or {remedy}")
    if settings.auth is Auth.REQUIRED or beyond:
        return warned(
            "access", "there is no API key yet, and no request is answered without", _ADMIN
        )
    return fine(
        "access", "open to this machine alone; from elsewhere every request needs an API key"
    )


def webhooks(settings: Settings) -> Iterator[Diagnosis]:
    """What signs messages, and where they may lead."""
    signed = (
        "signed with LRTUNER_WEBHOOK_SECRET or a job's own secret"
        if settings.webhook_secret
        else "only from jobs that bring a secret: LRTUNER_WEBHOOK_SECRET is not set"
    )
    allowed = settings.webhook_allow
    told = f"{signed}; to public addresses{f' and to {allowed}' if allowed else ''}"
    opened = [str(a) for a in _METADATA if is_allowed(a, networks(allowed))]
    if opened:
        why = f"{told}; among them {', '.join(opened)}, where a cloud tells its machines' secrets"
        remedy = "name smaller networks in LRTUNER_WEBHOOK_ALLOW: that of the receivers alone"
        yield warned("webhooks", why, remedy)
        return
    yield fine("webhooks", told)
    if settings.webhook_secret and not settings.public_url:
        remedy = "set LRTUNER_PUBLIC_URL to the address under which the API is reached"
        yield warned("webhooks", "the links in their messages are bare paths", remedy)


def _with_keys(active: list[KeyRow], count: int) -> Diagnosis:
    told = "every request needs an API key"
    if not active:
        none = f"of {plural(count, 'key')} none can be used: all are revoked or have expired"
        return warned("access", f"{told}, and {none}", f"{_CREATE} makes a new one")
    soon = [k for k in active if k.expires_at and k.expires_at - k.now < _SOON_DAYS * _DAY_SECONDS]
    if not soon:
        return fine("access", told)
    names = ", ".join(f"{key.name} ({key.id})" for key in soon)
    remedy = "make another for each with `lrtuner keys create`, and revoke the old one then"
    return warned("access", f"{told}; within {_SOON_DAYS:g} days expire: {names}", remedy)


def _keys(settings: Settings) -> list[KeyRow]:
    """All keys; none where there is no database.

    Raises:
        LRTunerError: the database cannot be asked.
    """
    file = file_of(parsed_url(settings.database_url))
    if file and not file.exists():  # to open it would make it
        return []
    database = open_database(settings.database_url)
    try:
        if not is_migrated(database):
            return []
        with database.reading() as connection:
            return keys.list_keys(connection)
    finally:
        database.close()


def main() -> int:
    """Print what was found."""
    names = [variable(name) for name in Settings.model_fields]
    sys.stdout.write(Examination(diagnose(), names).text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
