"""Who may do what: API keys, their scopes and teams, and when none is needed."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from lrtuner.keys import Scope, key_id_of, matches
from lrtuner.store.keys import KeyRow
from service.dependencies import JOB_ID, SettingsDep
from service.problem import ProblemError
from service.remembered import Remembered, Standing
from service.settings import Auth, Settings

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


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and what that may do.

    Attributes:
        key: None where none was needed; then everything is for everybody.
    """

    scopes: Scopes
    key: KeyRow | None = None

    @property
    def key_id(self) -> str | None:
        """What tells it from others; None without a key."""
        return self.key.id if self.key else None

    @property
    def team(self) -> str | None:
        """Whose is what it submits and uploads; None without a key."""
        return self.key.team if self.key else None

    @property
    def sees(self) -> str | None:
        """The team whose jobs and uploads are there for it; None: those of all are."""
        return None if Scope.ADMIN in self.scopes else self.team


def needed_scope(method: str, path: str) -> Scope | None:
    """What a request needs, by the template of its path; None where nothing is needed.

    A new endpoint is covered without being named here.
    """
    if path in _PUBLIC:
        return None
    if method.upper() in ("GET", "HEAD"):
        return Scope.READ
    return Scope.CODE if path.startswith("/v1/code") else Scope.SUBMIT


async def granted(request: Request, settings: SettingsDep) -> Caller:
    """Who sent the request, once it is certain that it may ask this endpoint, and for this job.

    Every endpoint depends on it, before anything of the request is looked at.

    Raises:
        ProblemError: there is no key, no valid one, or it lacks the scope.
        NotFoundError: for this caller there is no such job.
    """
    needed = needed_scope(request.method, request.scope["route"].path)
    if needed is None:
        return Caller(frozenset())
    remembered: Remembered = request.app.state.remembered
    text = _sent_key(request)
    key_id = key_id_of(text) if text is not None else None
    standing = remembered.standing(key_id)
    if standing is None:
        standing = await run_in_threadpool(remembered.look_up, key_id)
    caller = _caller(request, settings, text, standing)
    if caller.key and not caller.key.used_lately:
        await run_in_threadpool(remembered.touch, caller.key.id)
    require_scope(caller, needed)
    await _require_own(request.path_params.get("job_id"), caller.sees, remembered)
    return caller


def require_scope(caller: Caller, needed: Scope) -> None:
    """Refuse a request that may not do something.

    Raises:
        ProblemError: the scope is not among the sender's.
    """
    if needed not in caller.scopes:
        has = _listed(caller.scopes)
        told = f"This needs a key with the scope `{needed}`; yours has {has}."
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


async def _require_own(job_id: str | None, team: str | None, remembered: Remembered) -> None:
    """Let a job of another team be as one that does not exist, at every endpoint there is."""
    if job_id is None or team is None or not re.fullmatch(JOB_ID, job_id):
        return
    if not remembered.is_own(team, job_id):
        await run_in_threadpool(remembered.require_own, team, job_id)


def _caller(request: Request, settings: Settings, text: str | None, standing: Standing) -> Caller:
    row = standing.key
    if standing.is_open and _needs_no_key(request, settings):
        return Caller(EVERYTHING)
    if text is None:
        raise _unauthorized(f"An API key is needed: {_HOW}.")
    if row is None or not matches(text, row.digest):
        raise _unauthorized(f"The API key is not one of this service: {_HOW}.", invalid=True)
    if row.status != "active":
        raise _unauthorized(f"The API key {row.id} is {row.status}.", invalid=True)
    scopes = frozenset(map(Scope, row.scopes))
    return Caller(EVERYTHING if Scope.ADMIN in scopes else scopes, row)


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


Granted = Annotated[Caller, Depends(granted)]
