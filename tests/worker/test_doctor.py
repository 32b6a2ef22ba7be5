"""Examining a machine as a worker: each thing that can be wrong, and how to mend it."""

import sys

import pytest
import torch

from worker import doctor
from worker.sandbox.errors import CodeError
from worker.settings import Settings


@pytest.mark.parametrize(
    ("name", "state", "told"),
    [
        ("auto", "ok", "LRTUNER_DEVICE=auto means cpu"),
        ("cpu", "ok", f"torch {torch.__version__}"),
        ("cuda:77", "problem", "no such device here; available: cpu"),
    ],
)
def test_the_device(monkeypatch, name, state, told):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor, "_has_gpu", lambda: False)
    found = doctor.device(Settings(device=name))
    assert (found.check, found.state) == ("device", state)
    assert told in found.told


def test_a_gpu_that_torch_cannot_use(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(doctor, "_GPU_DEVICES", tmp_path)
    (tmp_path / "nvidia0").touch()
    found = doctor.device(Settings(device="auto"))
    assert found.state == "warning"
    assert "there is a GPU that it cannot use" in found.told
    assert "CUDA" in found.remedy
    assert doctor.device(Settings(device="cpu")).state == "ok"


def test_a_device_that_does_not_compute(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA driver version is insufficient\nand more")

    monkeypatch.setattr("torch.zeros", broken)
    found = doctor.device(Settings(device="cpu"))
    assert found.state == "problem"
    assert found.told.endswith("on cpu: CUDA driver version is insufficient")
    assert "nvidia-smi" in found.remedy


@pytest.fixture
def has(monkeypatch):
    """This machine, with so many cores and so much memory free."""

    def call(cores, gib):
        monkeypatch.setattr("worker.runners.machine.cores", lambda *_: cores)
        monkeypatch.setattr("worker.runners.machine.free_memory", lambda *_: int(gib * (1 << 30)))

    return call


def test_the_machine(has):
    has(3, 2.5)
    assert doctor.hardware().told.startswith("3 cores for this process, 2.5 GiB of memory free")


@pytest.mark.parametrize(
    ("given", "state", "told", "remedy"),
    [
        ({}, "ok", "=auto means 4: 4 cores, 6 GiB of memory free, 1 GiB for each", ""),
        ({"workers": 2}, "ok", "=auto means 2 in each of 2 workers: 4 cores", ""),
        ({"slots": 4}, "ok", "=4 means 4: 4 cores", ""),
        ({"slots": 5}, "warning", "more slots than cores", "set LRTUNER_SLOTS to 4 or less"),
        ({"slots": 3, "workers": 2}, "warning", "3 in each of 2 workers", "LRTUNER_SLOTS to 2 or"),
        ({"workers": 5}, "warning", "more slots than cores", "run fewer workers here"),
    ],
)
def test_slots(has, given, state, told, remedy):
    has(4, 6)
    found = doctor.slots(Settings(**{"device": "cpu", "slots": "auto"} | given))
    assert (found.check, found.state) == ("slots", state)
    assert told in found.told
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("gib", "slots", "state", "remedy"),
    [
        (2.5, "auto", "ok", ""),
        (2.5, 3, "warning", "set LRTUNER_SLOTS to 2 or less"),
        (0.5, "auto", "warning", "give this machine more"),
    ],
)
def test_slots_that_there_is_no_memory_for(has, gib, slots, state, remedy):
    has(8, gib)
    found = doctor.slots(Settings(device="cpu", slots=slots))
    assert found.state == state
    assert remedy in found.remedy
    assert ("no memory for so many" in found.told) == (state == "warning")


@pytest.mark.parametrize(
    ("slots", "gib", "state", "told"),
    [
        ("auto", 40, "ok", "=auto means 1: 8 cores, 40 GiB of memory free on cuda:0, where it is"),
        (4, 40, "ok", "=4 means 4: 8 cores, 40 GiB of memory free on cuda:0, where further ones"),
        (4, 1, "warning", "no memory for so many"),
        (9, 40, "warning", "more slots than cores"),
    ],
)
def test_slots_on_a_gpu(has, monkeypatch, slots, gib, state, told):
    has(8, 1)
    monkeypatch.setattr(doctor, "choose_device", torch.device)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (gib << 30, 80 << 30))
    found = doctor.slots(Settings(device="cuda:0", slots=slots))
    assert found.state == state
    assert told in found.told


def test_slots_of_a_device_that_is_not_there_are_not_counted(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    checks = [item.check for item in doctor.here(Settings(device="cuda:77"))]
    assert checks == ["device", "machine"]
    assert [item.check for item in doctor.here(Settings(device="cpu"))] == [*checks, "slots"]


def test_a_cluster_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "worker.runners.cluster", raising=False)
    monkeypatch.delattr("worker.runners.cluster", raising=False)
    [found] = doctor.on_cluster(Settings(runner="ray", device="cuda"))
    assert (found.check, found.state) == ("ray", "problem")
    assert found.remedy == "pip install 'lrtuner[ray]'"


@pytest.mark.parametrize(("runner", "checks"), [("local", "device"), ("ray", "ray")])
def test_what_trains_is_looked_at(monkeypatch, runner, checks):
    monkeypatch.setenv("LRTUNER_RUNNER", runner)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "worker.runners.cluster", raising=False)
    monkeypatch.delattr("worker.runners.cluster", raising=False)
    found = [item.check for item in doctor.diagnose()]
    assert found[0] == checks
    assert ("machine" in found) == (runner == "local")  # a worker on Ray may have no GPU itself
    assert {"lease", "sandbox"} <= set(found)


@pytest.mark.parametrize(
    ("lease", "heartbeat", "state"), [(30, 0.5, "ok"), (2, 1, "warning"), (2, 5, "problem")]
)
def test_a_lease_that_a_living_worker_loses(lease, heartbeat, state):
    found = doctor.lease(Settings(lease_seconds=lease, heartbeat_seconds=heartbeat))
    assert found.state == state
    if state != "ok":
        assert found.remedy == f"set LRTUNER_LEASE_SECONDS to {heartbeat * 3} or more"


def test_the_data_root(tmp_path):
    assert not list(doctor.data_root(Settings()))
    assert next(doctor.data_root(Settings(data_root=tmp_path))).state == "ok"
    found = next(doctor.data_root(Settings(data_root=tmp_path / "none")))
    assert found.state == "problem"
    assert "is no folder here" in found.told


class Standing:
    """A sandbox of which some walls are missing."""

    missing: dict[str, str] = {}
    walls = ["seccomp", "landlock", "watcher"]

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_the_sandbox(monkeypatch):
    monkeypatch.setattr(doctor, "Sandbox", Standing)
    assert "not asked for" in doctor.sandbox(Settings()).told
    assert doctor.sandbox(Settings(code=True)).told == "all 3 walls stand"
    monkeypatch.setattr(Standing, "missing", {"pid-namespace": "not permitted"})
    found = doctor.sandbox(Settings(code=True))
    assert (found.state, found.told) == ("warning", "it stands without pid-namespace")
    monkeypatch.setattr(Standing, "walls", ["landlock"])
    found = doctor.sandbox(Settings(code=True))
    assert found.state == "problem"
    assert "not run without network-namespace or seccomp" in found.told
    assert "pid-namespace: not permitted" in found.told


def test_a_sandbox_that_does_not_start(monkeypatch):
    def broken(*_, **__):
        raise CodeError("code.not_started", "the sandbox did not start: no memory")

    monkeypatch.setattr(doctor, "Sandbox", broken)
    found = doctor.sandbox(Settings(sandbox=True))
    assert (found.state, found.told) == ("problem", "the sandbox did not start: no memory")


def test_a_real_sandbox_is_looked_at():
    assert doctor.sandbox(Settings(sandbox=True)).state in ("ok", "warning")


def test_settings_that_are_not_valid(monkeypatch):
    monkeypatch.setenv("LRTUNER_DEVICE", "tpu")
    [found] = doctor.diagnose()
    assert (found.check, found.state) == ("settings", "problem")
    assert found.told.startswith("LRTUNER_DEVICE: ")
