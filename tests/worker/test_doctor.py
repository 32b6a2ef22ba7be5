"""Examining a machine as a worker: each thing that can be wrong, and how to mend it."""

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


def test_the_machine():
    assert "cores" in doctor.machine().told


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
