"""The Ray cluster that a worker trains on: entered with its token only, all nodes of one version.

`python -m worker.runners.cluster` tries it, and tells what is wrong or which nodes there are.
"""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lrtuner import __version__
from worker.runners import node
from worker.runners.errors import ClusterError
from worker.settings import Settings

_CONNECT_SECONDS = 5.0
_DESCRIBE_SECONDS = 60.0
_AUTHENTICATE = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file with the token of the cluster, "
    "here and on every node"
)


@dataclass(frozen=True)
class Cluster:
    """What there is to train on.

    Attributes:
        nodes: what each node told of itself (`worker.runners.node.described`).
        cpus: cores that Ray gives out.
        gpus: GPUs that Ray gives out.
    """

    nodes: tuple[dict[str, Any], ...]
    cpus: int
    gpus: int

    def __str__(self) -> str:
        names = ", ".join(sorted(each["node"] for each in self.nodes))
        return f"{len(self.nodes)} nodes ({names}), {self.cpus} CPUs, {self.gpus} GPUs"

    @property
    def reports_usage(self) -> bool:
        """Whether a node was started so that Ray reports its usage to the makers of Ray."""
        return any(each["reports_usage"] for each in self.nodes)


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
    asked = [(each["NodeManagerHostname"], _asked(each)) for each in ray.nodes() if each["Alive"]]
    nodes = tuple(_described(name, answer) for name, answer in asked)
    has = ray.cluster_resources()
    return Cluster(nodes, int(has.get("CPU", 0)), int(has.get("GPU", 0)))


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
    ask = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(node.described)
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
    name = found["node"]
    if not found["authenticated"]:
        raise ClusterError(f"Ray was started on {name} without authentication: {_AUTHENTICATE}")
    for what, ours in (("lrtuner", __version__), ("torch", torch.__version__)):
        if found[what] != ours:
            told = f"{what} {found[what]} is on the node {name}, and {ours} here"
            raise ClusterError(f"{told}: install the same version on all")


def main() -> int:
    """Try the cluster that the settings name."""
    try:
        sys.stdout.write(f"{connect(Settings().ray_address)}\n")
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
