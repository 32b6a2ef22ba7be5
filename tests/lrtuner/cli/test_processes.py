"""The commands that run the service: what they start, and what they refuse to start."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lrtuner.cli import processes
from lrtuner.errors import InvalidInputError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def become(monkeypatch):
    """What the process would have been replaced with."""
    calls = []
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    return calls


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["api", "--host", "::1", "--port", "0"], "service"),
        (["worker"], "worker"),
        (["migrate", "--url", "sqlite:///x.db"], "lrtuner.store.migrate"),
    ],
)
def test_the_parts_replace_this_process(run, become, arguments, module):
    assert run(*arguments).exit_code == 0
    [(program, command, _)] = become
    assert program == sys.executable
    assert command[:3] == [sys.executable, "-m", module]


def test_api_picks_a_free_port_for_zero(run, become):
    run("api", "--port", "0")
    command = become[0][1]
    assert 0 < int(command[command.index("--port") + 1]) < 65536
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_children_find_the_code_of_this_checkout_and_not_that_of_the_folder(
    run, become, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    (tmp_path / "worker.py").write_text("raise SystemExit('not this one')")
    run("worker")
    env = become[0][2]
    assert env["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    code = "import importlib.util as u; print(u.find_spec('worker').origin)"
    asked = [sys.executable, "-c", code]
    found = subprocess.run(asked, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(ROOT / "worker" / "__init__.py")


@pytest.mark.parametrize(
    ("command", "missing", "install"),
    [
        ("serve", {"torch", "uvicorn"}, "pip install 'lrtuner[service,worker]'"),
        ("serve", {"optuna"}, "pip install 'lrtuner[worker]'"),
        ("api", {"fastapi"}, "pip install 'lrtuner[service]'"),
        ("worker", {"torch"}, "pip install 'lrtuner[worker]'"),
        ("migrate", {"alembic"}, "pip install 'lrtuner[worker]'"),
    ],
)
def test_a_missing_extra_says_what_to_install(run, become, monkeypatch, command, missing, install):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else real(name)
    )
    result = run(command)
    assert result.exit_code == 2
    assert install in result.stderr
    assert all(name in result.stderr for name in missing)
    assert become == []


@pytest.mark.parametrize("command", ["serve", "api"])
def test_a_taken_port_is_refused_before_anything_starts(run, become, tmp_path, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(command, "--port", port)
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_none_is_refused(run):
    assert run("api", "--host", "999.1.1.1").exit_code == 2


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("tuner.example", "http://tuner.example:80"),
    ],
)
def test_the_url_is_one_that_can_be_opened_from_here(host, url):
    assert processes._url(host, 80) == url


def test_every_worker_is_its_own_child_and_all_follow_their_parent():
    commands = processes._commands("127.0.0.1", 80, 3)
    assert [command.name for command in commands] == ["api", "worker 1", "worker 2", "worker 3"]
    assert all(command.arguments[-1] == "--exit-with-parent" for command in commands)


def test_serve_migrates_a_fresh_database(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LRTUNER_DATABASE_URL", raising=False)
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(tmp_path / "data"))
    processes._migrate()
    assert (tmp_path / "data" / "lrtuner.db").exists()
    assert "migrated: empty ->" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "words"),
    [("mysql://me:hunter2@host/db", "mysql"), ("sqlite:////dev/null/x/lrtuner.db", "Error")],
)
def test_a_database_that_does_not_work_is_refused_without_a_traceback(monkeypatch, url, words):
    monkeypatch.setenv("LRTUNER_DATABASE_URL", url)
    with pytest.raises(InvalidInputError, match=words) as caught:
        processes._migrate()
    assert "Traceback" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
