"""A worker joins a cluster only if it is what it has to be, and says what is wrong with it."""

import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from lrtuner import __version__
from lrtuner.diagnosis import Examination
from tests.ray_cluster import ROOT, TOKEN
from worker import doctor
from worker.runners.errors import ClusterError
from worker.settings import Settings

ray = pytest.importorskip("ray", reason="needs Ray: make test-ray")
cluster = pytest.importorskip("worker.runners.cluster")

pytestmark = pytest.mark.ray

NODE = {
    "node": "other",
    "lrtuner": __version__,
    "torch": version("torch"),
    "authenticated": True,
    "reports_usage": False,
}
ADDRESS = "127.0.0.1:1"


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("secret\n")
    return path


def test_the_token_may_be_in_a_file_or_in_the_environment(token, tmp_path):
    mode = {"RAY_AUTH_MODE": "token"}
    cluster.check_token({**mode, "RAY_AUTH_TOKEN_PATH": str(token)})
    cluster.check_token({**mode, "RAY_AUTH_TOKEN": "secret"})
    (tmp_path / ".ray").mkdir()
    token.rename(tmp_path / ".ray" / "auth_token")
    cluster.check_token({**mode, "HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "RAY_AUTH_MODE is not set, and whoever reaches"),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "t"}, "RAY_AUTH_MODE is 'disabled'"),
        ({"RAY_AUTH_MODE": "token", "HOME": "/nowhere"}, "no token in /nowhere/.ray/auth_token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/dev/null"}, "it is empty"),
    ],
)
def test_without_authentication_it_does_not_start(environment, told):
    with pytest.raises(ClusterError, match=told) as caught:
        cluster.check_token(environment)
    assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH" in str(caught.value)


def test_no_cluster_is_started_where_none_is_named():
    before = ray.is_initialized()  # by the tests that ran before
    with pytest.raises(ClusterError, match=r"`ray start --head .*--disable-usage-stats` started"):
        cluster.connect(None)
    assert ray.is_initialized() == before


def test_what_does_not_answer_is_named_at_once():
    with pytest.raises(ClusterError, match=f"nothing answers at LRTUNER_RAY_ADDRESS={ADDRESS}"):
        cluster.connect(ADDRESS)


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken", "its token is another"),
        ("No node info found matching attributes: ''", "ray start --address=127.0.0.1:1 --num-cpu"),
        ("Version mismatch:\n    Ray: 2.53.0\n    Python: 3.11.7", "mismatch: Ray: 2.53.0 Python"),
    ],
)
def test_what_ray_says_when_it_refuses(monkeypatch, cause, told):
    def init(**_):
        raise ConnectionError("Failed to connect") from RuntimeError(cause)

    monkeypatch.setattr(cluster, "_check_answers", lambda address: None)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ClusterError, match=told):
        cluster.connect(ADDRESS)


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"authenticated": False}, "Ray was started on other without authentication"),
        ({"lrtuner": "0.0.1"}, f"lrtuner 0.0.1 is on the node other, and {__version__} here"),
        ({"torch": "1.0"}, "torch 1.0 is on the node other, and 2"),
    ],
)
def test_a_node_that_is_not_as_this_machine(differs, told):
    cluster.check(NODE)
    with pytest.raises(ClusterError, match=told):
        cluster.check({**NODE, **differs})


def tried(address, module="worker.runners.chosen", **environment):
    """What `python -m` that module says."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    kept |= {"PYTHONPATH": str(ROOT), "LRTUNER_RAY_ADDRESS": address, **environment}
    kept |= {"LRTUNER_RUNNER": "ray", "LRTUNER_SLOTS": "auto"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", module],
        env=kept,
        capture_output=True,
        text=True,
    )


def test_another_token_is_refused(ray_cluster):
    theirs = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another"}
    found = tried(ray_cluster.address, RAY_gcs_server_port_wait_time_s="1", **theirs)
    assert found.returncode == 1
    assert "does not let this worker in: its token is another one" in found.stdout


def test_what_there_is_room_for_is_told(ray_cluster):
    found = tried(ray_cluster.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    assert found.stdout == "ray trains on cpu, 2 runs at a time\n"
    assert found.returncode == 0


@pytest.mark.parametrize(
    ("has", "given", "states", "told"),
    [
        ((3, 4, 0), {}, ["ok", "ok"], "=auto means 4: the cluster has room for 4 on cpu"),
        ((3, 4, 0), {"workers": 3}, ["ok", "ok"], "=auto means 1"),
        ((3, 4, 0), {"slots": 5}, ["ok", "warning"], "the others wait"),
        ((3, 4, 2), {"ray_gpus_per_slot": 0.5}, ["ok", "ok"], "means 4: .* room for 4 on cuda"),
        ((3, 4, 0, True), {}, ["ok", "warning", "ok"], "means 4"),
        ((1, 0, 0), {}, ["problem"], "no node of the Ray cluster has a cpu to give"),
    ],
)
def test_what_doctor_says_of_a_cluster(monkeypatch, has, given, states, told):
    monkeypatch.setattr(cluster, "connect", lambda address: cluster.Cluster(*has))
    settings = {"runner": "ray", "ray_address": ADDRESS, "slots": "auto"} | given
    found = list(doctor.on_cluster(Settings(**settings)))
    assert [item.state for item in found] == states
    assert re.search(told, found[-1].told)


def test_doctor_looks_at_a_real_cluster(ray_cluster):
    found = tried(ray_cluster.address, "worker.doctor", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN)
    joined, slots = Examination.parsed(found.stdout).diagnoses[:2]
    assert (joined.check, joined.state) == ("ray", "ok")
    assert "3 nodes with 2 CPUs and 0 GPUs" in joined.told
    assert (slots.check, slots.state) == ("slots", "ok")
    found = tried(ray_cluster.address, "worker.doctor", RAY_AUTH_MODE="disabled")
    refused = Examination.parsed(found.stdout).diagnoses[0]
    assert (refused.check, refused.state) == ("ray", "problem")
    assert "without authentication" in refused.told
