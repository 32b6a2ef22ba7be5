"""`lrtuner keys` on the database, and what the keys open."""

import json

import pytest
from typer.testing import CliRunner

from lrtuner.cli import app
from lrtuner.keys import key_id_of
from tests.service.conftest import served

JOB = """{"model": {"name": "mlp"}, "dataset": {"name": "digits"}, "optimizer": {"name": "sgd"},
"training": {"batch_size": 64, "epochs": 2}}"""


@pytest.fixture
def run(database_url):
    def run(*arguments, **environment):
        environment = {"LRTUNER_DATABASE_URL": database_url, **environment}
        return CliRunner().invoke(app, arguments, env=environment)

    return run


def create(run, *options):
    result = run("keys", "create", *options)
    assert result.exit_code == 0, result.stderr
    return result


def test_a_key_is_made_used_listed_and_revoked(run, database_url, tmp_path):
    (tmp_path / "job.json").write_text(JOB)
    with served(database_url=database_url) as service:
        url = str(service.get("/").request.url)

        def submit(key=""):
            return run("submit", str(tmp_path / "job.json"), LRTUNER_URL=url, LRTUNER_API_KEY=key)

        assert submit().exit_code == 0  # open: this machine, and no key yet
        made = create(run, "--name", "ci", "--scope", "submit", "--scope", "read", "--days", "9")
        key = made.stdout.strip()
        key_id = key_id_of(key)
        assert key not in made.stderr
        assert "It is the first one" in made.stderr

        refused = submit()
        assert refused.exit_code == 2
        assert "An API key is needed" in refused.stderr
        assert "LRTUNER_API_KEY" in refused.stderr
        assert submit(key).exit_code == 0

        listed = run("keys", "list")
        assert listed.stdout.startswith(f"{key_id}  active  read,submit  used 20")
        assert key.rpartition("_")[2] not in listed.stdout
        [told] = json.loads(run("keys", "list", "--json").stdout)
        assert (told["id"], told["status"], told["revoked_at"]) == (key_id, "active", None)
        assert told["expires_at"] > told["created_at"]

        assert run("keys", "revoke", key_id).exit_code == 0
        gone = submit(key)
        assert gone.exit_code == 2
        assert f"{key_id} is revoked" in gone.stderr
        assert key not in gone.stderr
    assert f"{key_id}  revoked" in run("keys", "list").stdout


def test_a_key_as_json(run):
    told = json.loads(create(run, "--name", "a", "--scope", "admin", "--json").stdout)
    assert key_id_of(told["key"]) == told["id"]
    assert (told["scopes"], told["expires_at"], told["last_used_at"]) == (["admin"], None, None)
    assert "first" not in create(run, "--name", "b", "--scope", "read").stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["create", "--name", "a"], "--scope"),
        (["create", "--name", "a", "--scope", "root"], "root"),
        (["create", "--name", "", "--scope", "read"], "1 to 200 printable"),
        (["create", "--name", "a\nb", "--scope", "read"], "1 to 200 printable"),
        (["create", "--name", "a", "--scope", "read", "--days", "0"], "--days"),
        (["revoke", "aaaaaaaaaaaa"], "there is no key aaaaaaaaaaaa"),
    ],
)
def test_what_cannot_be_is_told(run, arguments, reason):
    result = run("keys", *arguments)
    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_database_that_is_not_migrated_is_told(tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    result = CliRunner().invoke(app, ["keys", "list"], env={"LRTUNER_DATABASE_URL": url})
    assert result.exit_code == 2
    assert "run `lrtuner migrate`" in result.stderr
