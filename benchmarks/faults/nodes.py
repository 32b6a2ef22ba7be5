"""A cluster of Ray on this machine: a head that trains nothing, and nodes that are killed."""

import importlib
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults.processes import titled

_TRAINS = b"ray::told"
"""How Ray calls the process of a task while it runs: by `worker.runners.node.told`."""


class Nodes:
    """Nodes of two CPUs each, as many processes as Ray keeps there; all of them carry `mark`."""

    def __init__(self, utilities: Any, environment: dict[str, str], mark: str, count: int) -> None:
        self._environment, self._mark = environment, mark
        self._cluster = utilities.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "env_vars": environment},
        )
        for _ in range(count):
            self._add()

    @property
    def address(self) -> str:
        """Where a worker joins."""
        return str(self._cluster.address)

    def training(self) -> set[int]:
        """The processes that train on them now."""
        return titled(_TRAINS, self._mark)

    def kill_one(self, chance: random.Random) -> None:
        """A node is gone with all that runs on it, and another one joins."""
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.unique_id))
        self._cluster.remove_node(chance.choice(nodes), allow_graceful=False)
        self._add()

    def end(self) -> None:
        """End them all."""
        self._cluster.shutdown()

    def _add(self) -> None:
        self._cluster.add_node(num_cpus=2, env_vars=self._environment)


@contextmanager
def cluster(folder: Path, mark: str, count: int = 2) -> Iterator[Nodes]:
    """A cluster that lives as long as the block.

    Args:
        folder: the data folder of the nodes.
        mark: what all its processes are to have in their environment, as NAME=VALUE.
        count: how many nodes train.
    """
    os.environ |= {  # before Ray is imported, which looks once
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    name, _, value = mark.partition("=")
    environment = {name: value, "LRTUNER_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    nodes = Nodes(importlib.import_module("ray.cluster_utils"), environment, mark, count)
    try:
        yield nodes
    finally:
        nodes.end()
