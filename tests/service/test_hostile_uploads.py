"""Every hostile upload is refused, the service keeps serving, and nothing of it stays anywhere."""

import pytest

from lrtuner.datasets import Limits, Options, inspect
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.errors import InvalidDatasetError
from service.inspecting import refused
from tests.conformance.dataset_samples import SAMPLES
from tests.service.barrage import sent, tree
from tests.service.conftest import Checked
from tests.service.hostile import FILES, NAMES

GOOD = SAMPLES["csv"]()
PARAMETERS = {name: {"format": format} for name, (format, _data) in FILES.items()} | {
    f"name {name!r:.40}": {"format": "csv", "filename": name} for name in NAMES
}
BODIES = {name: data for name, (_format, data) in FILES.items()}


#: Also through the process that inspects uploads, which costs a second each.
APART = [
    "npz: objects, pickled",
    "npz: bomb",
    "csv: a million columns",
    "safetensors: header of 2^63 bytes",
    "parquet: footer that lies",
    "images: bomb of pixels",
]


def inspected_here(path, format, target, settings):
    """What the process apart does, without the process."""
    limits = Limits(array_bytes=settings.max_dataset_mb * MEBIBYTE)
    try:
        return inspect(path, format, Options(target=target), limits)
    except InvalidDatasetError as error:
        raise refused(str(error), error.where) from None


@pytest.fixture(scope="module")
def outcome(_sqlite_template, tmp_path_factory):
    """All of them sent to one service, some at a time; the answers and what lay there after.

    Inspected in this process, where anything that a reader raises but a refusal gives a 500.
    """
    uploads = {name: (BODIES.get(name, GOOD), PARAMETERS[name]) for name in PARAMETERS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.routes.datasets.inspected", inspected_here)
        return sent(
            tmp_path_factory.mktemp("around"),
            _sqlite_template,
            "/v1/datasets",
            uploads,
            (GOOD, {"format": "csv"}),
            max_upload_mb=64,
            max_dataset_mb=64,
        )


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_is_refused_with_a_reason(outcome, name):
    answer = Checked(lambda *_args: outcome.answers[name]).post("/v1/datasets")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] in ("invalid_dataset", "invalid_input")
    assert len(problem["detail"]) < 1500
    assert "Traceback" not in problem["detail"]
    assert problem["errors"]


@pytest.mark.parametrize("name", APART)
def test_it_is_refused_by_the_process_apart_as_well(start, sqlite_url, tmp_path, name):
    client = start(
        database_url=sqlite_url, data_dir=tmp_path / "data", max_upload_mb=64, max_dataset_mb=64
    )
    answer = client.post("/v1/datasets", content=BODIES[name], params=PARAMETERS[name])
    assert answer.status_code == 422
    assert "breaks what reads it" not in answer.json()["detail"]  # no crash had to be contained
    assert tree(tmp_path / "data") == ["datasets"]


def test_nothing_is_left_behind(outcome):
    assert outcome.after == outcome.before == ["data", "data/datasets"]
    assert [path for path in outcome.appeared if path.name == "pwned"] == []


def test_the_service_still_serves(outcome):
    assert outcome.last.status_code == 201


def test_there_are_enough_of_them():
    assert len(PARAMETERS) >= 40
