"""Requests, timed: from a large database against a small one, and from ours against a bare one."""

import base64
import http.client
import json
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.api.databases import CHOSEN, PAGE, SPEC, TEAMS, job_id
from benchmarks.api.serving import serving
from lrtuner.keys import Scope, new_key
from lrtuner.store import keys, open_database

NAME, TEAM = f"model-{CHOSEN}", f"team-{CHOSEN % TEAMS}"
FILTERS = {
    "first page": "",
    "name": f"name={NAME}",
    "status": "status=failed",
    "two statuses": "status=failed&status=succeeded",
    "status of none": "status=running",
    "label of all": "metadata[branch]=main",
    "label of one": "metadata[commit]=1",
    "name and label": f"name={NAME}&metadata[branch]=main",
}


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.connect()
        # It sends head and body one after the other: they must not wait for each other.
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """The answer, read in full and good."""
        sent = {**self._headers, **(headers or {})}
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return answer


def lists(large: str, small: str, *, count: int, repeats: int) -> dict[str, dict[str, float]]:
    """Each request to both databases: 95th percentiles in ms, and large / small."""
    with serving("ours", large) as large_port, serving("ours", small) as small_port:
        found = {}
        for who, team, scope in (("all teams", None, Scope.ADMIN), ("one team", TEAM, Scope.READ)):
            pair = [
                (Client(large_port, _key(large, team, scope)), count),
                (Client(small_port, _key(small, team, scope)), PAGE + 1),
            ]
            for name, path in _paths().items():
                asks = [partial(client.ask, "GET", path(jobs)) for client, jobs in pair]
                times = alternate(asks, repeats)
                ours, theirs = (1e3 * statistics.quantiles(t, n=20)[-1] for t in times)
                found[f"{name}, {who}"] = _compared("large", ours, "small", theirs)
    return found


def against_bare(url: str, *, repeats: int) -> dict[str, dict[str, float]]:
    """Each request to the service and to bare endpoints: medians in ms, and ours / bare."""
    one = f"/v1/jobs/{job_id(CHOSEN)}"
    body = json.dumps(SPEC.model_dump(mode="json", by_alias=True)).encode()
    as_json = {"Content-Type": "application/json"}
    key = _key(url, None, Scope.ADMIN)
    with serving("ours", url) as our_port, serving("bare", url) as bare_port:
        clients = Client(our_port, key), Client(bare_port)
        etag = clients[0].ask("GET", one).headers["ETag"]
        known = {"If-None-Match": etag or ""}
        requests: dict[str, tuple[Any, ...]] = {
            "submit": ("POST", "/v1/jobs", body, as_json),
            "get": ("GET", one),
            "304": ("GET", one, None, known),
            "list": ("GET", "/v1/jobs"),
            "download": ("GET", f"{one}/recommendation"),
        }
        found = {}
        for name, request in requests.items():
            asks = [partial(client.ask, *request) for client in clients]
            ours, theirs = (1e3 * statistics.median(t) for t in alternate(asks, repeats))
            found[name] = _compared("ours", ours, "bare", theirs)
    return found


def alternate(asks: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Seconds that each took, in turns; the first tenth is not counted."""
    times: list[list[float]] = [[] for _ in asks]
    for _ in range(repeats + repeats // 10):
        for ask, taken in zip(asks, times, strict=True):
            began = time.perf_counter()
            ask()
            taken.append(time.perf_counter() - began)
    return [taken[repeats // 10 :] for taken in times]


def _paths() -> dict[str, Callable[[int], str]]:
    """What is asked, by the number of jobs that are there."""

    def after(jobs: int) -> str:
        middle = max(jobs // 2, min(jobs, PAGE + 1)) + 1
        return base64.urlsafe_b64encode(f"jobs:{middle}".encode()).decode().rstrip("=")

    return {
        "get": lambda _: f"/v1/jobs/{job_id(CHOSEN)}",
        **{name: _list(query) for name, query in FILTERS.items()},
        "deep cursor": lambda jobs: f"/v1/jobs?after={after(jobs)}",
        "deep cursor, label": lambda jobs: f"/v1/jobs?metadata[branch]=main&after={after(jobs)}",
    }


def _list(query: str) -> Callable[[int], str]:
    return lambda _jobs: f"/v1/jobs?{query}"


def _key(url: str, team: str | None, scope: Scope) -> str:
    key = new_key()
    database = open_database(url)
    with database.writing() as connection:
        keys.add_key(connection, key, name="benchmark", scopes=[scope], team=team)
    database.close()
    return key.text


def _compared(first: str, ours: float, second: str, theirs: float) -> dict[str, float]:
    return {f"{first}_ms": ours, f"{second}_ms": theirs, "ratio": ours / theirs}
