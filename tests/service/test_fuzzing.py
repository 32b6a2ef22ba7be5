"""Everything that schemathesis can think of is answered as documented, and never with a 5xx."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lrtuner.job import JobSpec
from lrtuner.keys import Scope, new_key
from lrtuner.store import deliveries, keys, queue
from lrtuner.webhook import Receiver
from service.openapi import EXAMPLE_JOB
from tests.conftest import Store
from tests.service.conftest import served
from tests.service.receiver import SECRET

ROOT = Path(__file__).parents[2]

#: That invalid input is refused, and valid input accepted, is for our own tests: a schema cannot
#: say everything.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
]


@pytest.fixture
def api(sqlite_url, tmp_path, monkeypatch, leave_in, published):
    """A service that needs a key, with something behind every kind of id; it sends nothing."""
    monkeypatch.setattr("service.delivering.deliveries.is_due", lambda _connection: False)
    settings = {"auth": "required", "code": True, "webhook_secret": SECRET, "data_dir": tmp_path}
    with served(database_url=sqlite_url, **settings) as client:
        store = Store(client.app.state.storage.database)
        spec = JobSpec.model_validate(EXAMPLE_JOB).model_dump(mode="json", by_alias=True)
        job_id = store.enqueue(spec=spec, name="there")
        claim = store.claim()
        leave_in(store, claim)
        store.do(queue.succeed, claim, recommendation=published)
        delivery_id = store.do(deliveries.post_test, Receiver(url="https://ci.example.org"))
        yield client, store, {"job_id": job_id, "delivery_id": delivery_id}


def fuzzed(api, *options, key):
    """Run schemathesis; how many cases it made up. Every failure of a check is one of the test."""
    client, store, known = api
    arguments = ["--checks", ",".join(CHECKS), "--no-color", "--warnings", "off", *options]
    if key:
        made = new_key()
        store.do(keys.add_key, made, name="fuzz", scopes=[Scope.ADMIN])
        arguments += ["--header", f"Authorization: Bearer {made.text}"]
    url = str(client.get("/openapi.json").request.url)
    script = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.service.schemathesis_hooks",
        "LRTUNER_KNOWN_IDS": json.dumps(known),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", script, "run", url, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=store.database.url.database.rpartition("/")[0],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    sys.stdout.write(done.stdout[done.stdout.find("== SUMMARY ==") :])
    return int(re.search(r"(\d+) generated", done.stdout)[1])


def test_some_cases(api):
    """The same ones each time."""
    options = ["--phases", "fuzzing", "--max-examples", "5", "--generation-deterministic"]
    assert fuzzed(api, *options, key=True) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("key", [True, False], ids=["with a key", "without a key"])
def test_thousands_of_cases(api, key):
    """Sequences of calls among them. `make fuzz` runs this alone."""
    options = ["--phases", "fuzzing,stateful", "--max-examples", "170", "--seed", "1"]
    assert fuzzed(api, *options, key=key) >= 5000
