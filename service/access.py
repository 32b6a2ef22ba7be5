"""Who may do what: API keys, their scopes, and when none is needed."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from lrtuner.keys import Scope, key_id_of, matches
from lrtuner.store import keys
from service.dependencies import SettingsDep, StorageDep
from service.problem import ProblemError
from service.settings import Auth, Settings
from service.storage import Storage

Scopes = frozenset[Scope]

EVERYTHING: Scopes = frozenset(Scope)

#: What tells nothing that is not in the documentation; and the metrics, which are only numbers, and
#: have to be there when the database, which knows the keys, is not.
_PUBLIC = {
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/problems/{code}",
    "/v1/schema/{name}.json",
}

#: What proxies add to a request; a loopback address behind one is no protection.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_HOW = (
    "send `Authorization: Bearer lrt_...` (the `lrtuner` command sends LRTUNER_API_KEY); the "
    "operator makes keys with `lrtuner keys create`"
)


def needed_scope(method: str, path: str) -> Scope | None:
    """What a request needs, by the template of its path; None where nothing is needed.

    A new endpoint is covered without being named here.
    """
    if path in _PUBLIC:
        return None
    if method.upper() in ("GET", "HEAD"):
        return Scope.READ
    return Scope.CODE if path.startswith("/v1/code") else Scope.SUBMIT


def granted(request: Request, storage: StorageDep, settings: SettingsDep) -> Scopes:
    """What the sender may do, once it is certain that this is enough for the endpoint.

    Every endpoint depends on it, before anything of the request is looked at.

    Raises:
        ProblemError: there is no key, no valid one, or it lacks the scope.
    """
    needed = needed_scope(request.method, request.scope["route"].path)
    if needed is None:
        return frozenset()
    found = _found(request, storage, settings)
    require_scope(found, needed)
    return found


def require_scope(found: Scopes, needed: Scope) -> None:
    """Refuse a request that may not do something.

    Raises:
        ProblemError: the scope is not among those that were found.
    """
    if needed not in found:
        told = f"This needs a key with the scope `{needed}`; yours has {_listed(found)}."
        challenge = f'Bearer realm="lrtuner", error="insufficient_scope", scope="{needed}"'
        raise ProblemError("missing_scope", told, headers={"WWW-Authenticate": challenge})


def is_local(host: str | None) -> bool:
    """Whether a name is that of this machine; no name at all is."""
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _found(request: Request, storage: Storage, settings: Settings) -> Scopes:
    text = _sent_key(request)
    key_id = key_id_of(text) if text is not None else None
    with storage.reading() as connection:
        row = keys.find_key(connection, key_id) if key_id else None
        is_open = row is None and not keys.has_keys(connection)
    if is_open and _needs_no_key(request, settings):
        return EVERYTHING
    if text is None:
        raise _unauthorized(f"An API key is needed: {_HOW}.")
    if row is None or not matches(text, row.digest):
        raise _unauthorized(f"The API key is not one of this service: {_HOW}.", invalid=True)
    if row.status != "active":
        raise _unauthorized(f"The API key {row.id} is {row.status}.", invalid=True)
    if not row.used_lately:
        with storage.writing() as connection:
            keys.touch_key(connection, row.id)
    request.state.caller = row.id
    scopes = frozenset(map(Scope, row.scopes))
    return EVERYTHING if Scope.ADMIN in scopes else scopes


def _sent_key(request: Request) -> str | None:
    """The text after `Bearer`; empty where another scheme was used."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, text = header.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _needs_no_key(request: Request, settings: Settings) -> bool:
    """Whether a service without any key is for everybody who sent such a request."""
    if settings.auth is Auth.AUTO:
        on_loopback: bool = request.app.state.on_loopback
        return (
            on_loopback
            and is_local(urlsplit(settings.public_url).hostname)
            and _comes_from_here(request)
        )
    return settings.auth is Auth.OPEN


def _comes_from_here(request: Request) -> bool:
    """Whether nothing tells that a proxy, or another site's page in a browser, sent this."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    origin = request.headers.get("origin")
    return is_local(request.url.hostname) and (
        origin is None or is_local(urlsplit(origin).hostname or "?")
    )


def _unauthorized(detail: str, *, invalid: bool = False) -> ProblemError:
    challenge = 'Bearer realm="lrtuner"' + ', error="invalid_token"' * invalid
    return ProblemError("unauthorized", detail, headers={"WWW-Authenticate": challenge})


def _listed(scopes: Scopes) -> str:
    return ", ".join(f"`{scope}`" for scope in sorted(scopes))


async def caller(request: Request, _found: Annotated[Scopes, Depends(granted)]) -> str:
    """Who sent the request: the id of the API key; empty where none was needed."""
    return getattr(request.state, "caller", "")


Granted = Annotated[Scopes, Depends(granted)]
CallerDep = Annotated[str, Depends(caller)]
