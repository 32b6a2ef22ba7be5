"""The Ray cluster that a worker trains on: joined with its token only, all nodes of one version."""

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from worker.runners import surroundings
from worker.runners.errors import ClusterError
from worker.settings import Settings

log = logging.getLogger("lrtuner.worker")

MOST_SLOTS = 64

_CONNECT_SECONDS = 5.0
_DESCRIBE_SECONDS = 120.0
_AUTHENTICATE = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file with the token of the cluster, "
    "here and on every node"
)


@dataclass(frozen=True)
class Cluster:
    """What there is to train on: CPUs and GPUs that Ray gives out, on so many nodes."""

    nodes: int
    cpus: int
    gpus: int
    reports_usage: bool = False  # whether a node of it tells Ray's makers


def room(device: str, slots: int | None, workers: int) -> tuple[torch.device, int]:
    """Join the cluster of the settings: where to train on it, and in how many slots.

    Args:
        device: LRTUNER_DEVICE; `auto` is cuda where Ray has GPUs to give.
        slots: that number, where the operator gave one; else as many as there is room for.
        workers: how many workers share the cluster.

    Raises:
        ClusterError: see `connect`; or it has nothing to train on.
    """
    settings = Settings()
    found = connect(settings.ray_address)
    if found.reports_usage:
        log.warning("Ray reports to its makers: start it with --disable-usage-stats on every node")
    kind, most = at_a_time(found, device, settings)
    return torch.device(kind), slots or max(1, min(most // workers, MOST_SLOTS))


def at_a_time(found: Cluster, device: str, settings: Settings) -> tuple[str, int]:
    """Whether it trains on cpu or cuda, and so many runs at most at a time.

    Args:
        found: the cluster.
        device: LRTUNER_DEVICE.
        settings: the share of a GPU that a run takes.

    Raises:
        ClusterError: it has nothing of that kind to train on.
    """
    kind = _kind(device, found)
    most = found.cpus if kind == "cpu" else found.gpus * int(1 / settings.ray_gpus_per_slot)
    if most == 0:
        told = "--num-cpus" if kind == "cpu" else "--num-gpus"
        raise ClusterError(
            f"LRTUNER_DEVICE={device}: no node of the Ray cluster has a {kind} to "
            f"give: start one with `ray start --address={settings.ray_address} {told}=N`"
        )
    return kind, most


def _kind(device: str, found: Cluster) -> str:
    if device == "auto":
        return "cuda" if found.gpus else "cpu"
    if device not in ("cpu", "cuda"):
        told = "of which GPU a node takes Ray decides"
        raise ClusterError(f"LRTUNER_DEVICE={device}: {told}; it is auto, cpu or cuda here")
    return device


def connect(address: str | None) -> Cluster:
    """Join the cluster at `address` (host:port of its head) as a driver; no cluster is started.

    Raises:
        ClusterError: a setting is missing, the cluster does not answer, has another token or none,
            or differs in a version; the message says which, and what to do.
    """
    if address is None:
        raise ClusterError(
            "LRTUNER_RUNNER=ray needs LRTUNER_RAY_ADDRESS, the host:port of a head that "
            "`ray start --head --port=6379 --include-dashboard=false --disable-usage-stats` started"
        )
    check_token(os.environ)
    _check_answers(address)
    _join(address)
    try:
        return _found()
    except BaseException:
        ray.shutdown()
        raise


def _found() -> Cluster:
    """The nodes, each looked at."""
    asked = [(each["NodeManagerHostname"], _asked(each)) for each in ray.nodes() if each["Alive"]]
    nodes = [_described(name, answer) for name, answer in asked]
    has = ray.cluster_resources()
    reports = any(each["reports_usage"] for each in nodes)
    return Cluster(len(nodes), int(has.get("CPU", 0)), int(has.get("GPU", 0)), reports)


def check_token(environment: Mapping[str, str]) -> None:
    """Refuse to go on without authentication.

    Raises:
        ClusterError: it is not on, or there is no token.
    """
    mode = environment.get("RAY_AUTH_MODE", "")
    if mode.lower() != "token":
        told = f"RAY_AUTH_MODE is {mode!r}" if mode else "RAY_AUTH_MODE is not set"
        why = "whoever reaches a Ray cluster without authentication runs code on it"
        raise ClusterError(f"{told}, and {why}: {_AUTHENTICATE}")
    if environment.get("RAY_AUTH_TOKEN"):
        return
    default = Path(environment.get("HOME", "~")) / ".ray" / "auth_token"
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or default)
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise ClusterError(f"no token in {path} ({error.strerror}): {_AUTHENTICATE}") from None
    if not token:
        raise ClusterError(f"no token in {path}, it is empty: {_AUTHENTICATE}")


def _check_answers(address: str) -> None:
    """Find out soon: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        told = f"nothing answers at LRTUNER_RAY_ADDRESS={address}"
        raise ClusterError(f"{told} ({error}): is the head node up?") from None


def _join(address: str) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "5")  # so long a wrong token is tried
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of the change
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError, RayError) as error:
        cause = str(error.__cause__ or error).strip()
        told = f"the Ray cluster at {address} does not let this worker in"
        if "AuthenticationError" in cause:
            raise ClusterError(f"{told}: its token is another one: {_AUTHENTICATE}") from None
        if "No node info found" in cause:
            start = f"`ray start --address={address} --num-cpus=0 --disable-usage-stats`"
            raise ClusterError(f"{told}: no node of it runs here; start one: {start}") from None
        raise ClusterError(f"{told}: {' '.join(cause.split())}") from error


def _asked(each: dict[str, Any]) -> Any:
    """Ask a node to describe itself."""
    there = NodeAffinitySchedulingStrategy(each["NodeID"], soft=False)
    ask = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(surroundings.described)
    return ask.remote()


def _described(name: str, answer: Any) -> dict[str, Any]:
    """What a node told of itself.

    Raises:
        ClusterError: it is not one of ours.
    """
    try:
        found: dict[str, Any] = ray.get(answer, timeout=_DESCRIBE_SECONDS)
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise ClusterError(f"the node {name} cannot train: {last}") from None
    check(found)
    return found


def check(found: dict[str, Any]) -> None:
    """Refuse a node that is not as this machine is.

    Args:
        found: what it told of itself.

    Raises:
        ClusterError: it was started without authentication, or a version differs.
    """
    name = found["node"]
    if not found["authenticated"]:
        raise ClusterError(f"Ray was started on {name} without authentication: {_AUTHENTICATE}")
    ours = surroundings.described()
    for what in ("lrtuner", "torch"):
        if found[what] != ours[what]:
            told = f"{what} {found[what]} is on the node {name}, and {ours[what]} here"
            raise ClusterError(f"{told}: install the same version on all")
