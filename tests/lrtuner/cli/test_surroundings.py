"""What needs neither a database nor torch to be examined."""

import importlib.metadata
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

import lrtuner
from lrtuner.cli import surroundings
from tests.lrtuner.cli.conftest import problem

REQUIRED = [
    "numpy<3,>=1.26",
    'uvicorn<1,>=0.40; extra == "service"',
    'torch>=2.6; extra == "worker"',
]


@pytest.fixture
def installed(monkeypatch):
    """Say which versions are installed."""

    def put(**versions):
        def version(name):
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(importlib.metadata, "requires", lambda _: REQUIRED)
        monkeypatch.setattr(importlib.metadata, "version", version)

    return put


def test_versions_that_fit(installed):
    installed(numpy="2.4.6", uvicorn="0.54.0")
    [found] = surroundings.versions(["service"])
    assert (found.state, found.check) == ("ok", "versions")
    assert f"lrtuner {lrtuner.__version__} with service; Python 3." in found.told
    [found] = surroundings.versions([])
    assert "the client alone" in found.told


def test_versions_that_do_not_fit(installed):
    installed(numpy="3.0", uvicorn="0.9.1")
    _, *found = surroundings.versions(["service", "worker"])
    assert {item.state for item in found} == {"problem"}
    assert [item.told for item in found] == [
        "numpy 3.0 is installed; lrtuner needs <3,>=1.26",
        "uvicorn 0.9.1 is installed; lrtuner[service] needs <1,>=0.40",
        "torch is not installed; lrtuner[worker] needs it",
    ]
    assert found[1].remedy == "pip install --upgrade 'lrtuner[service]'"


def test_a_folder_that_is_not_installed(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    _, found = surroundings.versions([])
    assert found.state == "warning"


@pytest.mark.parametrize(
    ("version", "wanted", "result"),
    [
        ("2.13.0+cpu", ">=2.6,<3", True),
        ("2.6", "<3,>=2.6.0", True),
        ("2.10", ">=2.9", True),
        ("3.0.0", "<3", False),
        ("3.0.0rc1", "<3", False),
        ("2.5.9", ">=2.6", False),
        ("1", "", True),
    ],
)
def test_bounds(version, wanted, result):
    assert surroundings.fits(version, wanted) is result


def test_a_variable_that_is_no_setting():
    environ = {
        "LRTUNER_LEASE_SECS": "3",
        "LRTUNER_LEASE_SECONDS": "3",
        "LRTUNER_LEASE_SECONDS_FILE": "x",
        "LRTUNER_URL": "x",
        "HOME": "/",
    }
    [found] = surroundings.variables(environ, ["LRTUNER_LEASE_SECONDS"])
    assert found.state == "warning"
    assert found.told == "LRTUNER_LEASE_SECS is no setting, and does nothing"
    assert "LRTUNER_LEASE_SECONDS" in found.remedy


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("mebibytes", "state"), [(5000, "ok"), (500, "warning"), (50, "problem")])
def test_room_on_the_disk(monkeypatch, tmp_path, mebibytes, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, mebibytes << 20))
    data, temporary = surroundings.folders({"LRTUNER_DATA_DIR": str(tmp_path / "none")})
    assert (data.state, temporary.state) == (state, state)
    assert f"{mebibytes:,} MiB free" in data.told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/proc/none", "/dev/null/none"])
def test_a_folder_that_cannot_be_written(path):
    found = surroundings.folder("data folder", Path(path), "LRTUNER_DATA_DIR")
    assert found.state == "problem"
    assert f"{path} cannot be written: " in found.told
    assert "LRTUNER_DATA_DIR" in found.remedy


def examined(url, key=None, **kwargs):
    environ = {"LRTUNER_URL": url} if url else {}
    if key:
        environ["LRTUNER_API_KEY"] = key
    return list(surroundings.server(environ, **{"is_client": True} | kwargs))


@pytest.fixture
def answering(service):
    """A service with an index, in the version that is asked for."""

    def put(
        version=lrtuner.__version__, name="lrtuner", ready=(200, {}), jobs=(200, {"items": []})
    ):
        pages = {
            "/": (200, {"name": name, "version": version}),
            "/readyz": ready,
            "/v1/jobs": jobs,
        }
        service.answer = lambda method, path, query: pages[path]
        return service.url

    return put


def test_a_service_that_answers(answering):
    url = answering()
    server, key = examined(url)
    assert (server.state, server.told) == ("ok", f"{url} answers, version {lrtuner.__version__}")
    assert (key.state, key.told) == ("ok", "none is needed")
    assert examined(url, "lrt_x")[1].told == "LRTUNER_API_KEY is accepted"


def test_a_service_of_another_version(answering):
    server = examined(answering(version="0.0.9"))[0]
    assert server.state == "warning"
    assert f"version 0.0.9, and this is {lrtuner.__version__}" in server.told


def test_something_else_that_answers(answering):
    [server] = examined(answering(name="other"))
    assert (server.state, "no lrtuner" in server.told) == ("problem", True)


def test_a_service_that_is_not_ready(answering):
    found = examined(answering(ready=problem(503, "run `lrtuner migrate`")))
    assert found[1].state == "problem"
    assert "run `lrtuner migrate`" in found[1].told


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_taken(answering, status):
    found = examined(answering(jobs=problem(status, "not yours")), "lrt_secret")[-1]
    assert (found.check, found.state) == ("key", "problem")
    assert "LRTUNER_API_KEY" in found.remedy
    assert "lrt_secret" not in repr(found)


def test_a_service_that_is_not_there(unused_port):
    url = f"http://127.0.0.1:{unused_port}"
    [found] = examined(url)
    assert (found.check, found.state) == ("server", "problem")
    assert found.told.count(url) == 1
    [found] = surroundings.server({"LRTUNER_URL": url}, is_client=False)
    assert found.state == "problem"


def test_a_worker_need_not_reach_the_service(monkeypatch, unused_port):
    monkeypatch.setattr(surroundings, "DEFAULT_URL", f"http://127.0.0.1:{unused_port}")
    assert examined(None, is_client=False)[0].state == "warning"
    assert examined(None, is_client=True)[0].state == "problem"
