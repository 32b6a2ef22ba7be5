import pytest
import sqlalchemy as sa

from lrtuner.store import level, migrate

NO_POSTGRES = "postgresql://nobody@127.0.0.1:1/none"
PATHS = ["/v1/jobs", "/v1/jobs/job_x", "/v1/jobs/job_x/trials", "/readyz"]


def test_ready(client, database):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {
        "status": "ready",
        "database": database.url.get_backend_name(),
        "migrations": "current",
    }


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_database_down(start, tmp_path, kind):
    folder = tmp_path / "gone"
    client = start(
        database_url=NO_POSTGRES if kind == "postgresql" else f"sqlite:///{folder}/lrtuner.db"
    )
    if kind == "sqlite":
        folder.rmdir()
    assert client.get("/healthz").status_code == 200
    for path in PATHS:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_down")
        assert "127.0.0.1" not in answer.text
        assert str(tmp_path) not in answer.text
    assert client.submit().json()["code"] == "database_down"


def test_database_that_comes_back(start, tmp_path, sqlite_url):
    folder = tmp_path / "gone"
    url = f"sqlite:///{folder}/lrtuner.db"
    client = start(database_url=url)
    folder.rmdir()
    assert client.submit().status_code == 503
    folder.mkdir()
    migrate.upgrade(url)
    assert client.submit().status_code == 202


def test_file_that_is_no_database(start, tmp_path):
    path = tmp_path / "lrtuner.db"
    path.write_text("no database at all, just text, and long enough to be read" * 100)
    client = start(database_url=f"sqlite:///{path}")
    assert client.get("/readyz").json()["code"] == "database_down"


def test_database_without_tables(start, empty_database_url):
    client = start(database_url=empty_database_url)
    for path in PATHS:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "not_migrated")
    assert client.submit().json()["code"] == "not_migrated"
    migrate.upgrade(empty_database_url)
    assert client.get("/readyz").status_code == 200
    assert client.submit().status_code == 202


def test_a_later_versions_schema_is_told_and_good_enough(client, store):
    """It goes on while the next version is rolled out."""
    later = sa.text(f"UPDATE {level.VERSION_TABLE} SET version_num = '9999'")
    store.do(lambda connection: connection.execute(later))
    assert client.get("/readyz").json()["migrations"] == "newer"
    assert client.submit().status_code == 202


def test_the_api_does_not_migrate(start, empty_database_url, open_store):
    start(database_url=empty_database_url).submit()
    assert not level.is_migrated(open_store(empty_database_url))


def test_index_links_work(sqlite_client):
    for path in sqlite_client.get("/").json()["links"].values():
        assert sqlite_client.get(path).status_code == 200
