"""How many slots there are: files of the system in a folder stand for a machine."""

import os

import pytest
import torch

from tests.worker.conftest import CPU
from worker.runners.machine import SLOT_BYTES, cores, free_memory, slots_for

GPU = torch.device("cuda")
HAS = len(os.sched_getaffinity(0))


@pytest.fixture
def machine(tmp_path):
    def made(*, free=1 << 40, group="/a/b", **files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {free // 1024} kB\n")
        (tmp_path / "proc/self/cgroup").write_text(f"0::{group}\n")
        for path, text in files.items():
            file = tmp_path / "sys/fs/cgroup" / path.replace("__", "/").replace("_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        return tmp_path

    return made


def test_without_a_quota_the_affinity_says_how_many_cores(machine):
    assert cores(machine(a__b__cpu_max="max 100000")) == HAS


@pytest.mark.parametrize("at", ["cpu_max", "a__cpu_max", "a__b__cpu_max"])
def test_the_quota_of_the_cgroup_and_of_those_above_holds(machine, monkeypatch, at):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))
    assert cores(machine(**{at: "250000 100000"})) == 2


def test_less_than_a_core_is_one(machine):
    assert cores(machine(a__b__cpu_max="50000 100000")) == 1


def test_memory_is_what_is_left_of_the_machine_or_of_a_cgroup(machine):
    limits = {"memory_max": "max", "memory_current": "5"}
    limits |= {"a__b__memory_max": "3000", "a__b__memory_current": "1000"}
    assert free_memory(machine(**limits)) == 2000


def test_memory_without_limits(machine):
    assert free_memory(machine(free=4096)) == 4096


@pytest.mark.parametrize(
    ("cpus", "free", "workers", "wanted"),
    [
        (8, 100, 1, 8),
        (8, 100, 3, 2),
        (8, 5, 1, 5),
        (8, 5, 2, 2),
        (8, 0, 1, 1),
        (2, 100, 4, 1),
    ],
)
def test_slots_on_the_cpu(machine, monkeypatch, cpus, free, workers, wanted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cpus))
    root = machine(free=free * SLOT_BYTES)
    assert slots_for(None, CPU, workers, root) == wanted
    assert slots_for(None, GPU, workers, root) == 1
    assert slots_for(3, CPU, workers, root) == slots_for(3, GPU, workers, root) == 3
