"""What three updates say of a job, and what looks wrong in it."""

import json

import pytest

from lrtuner.errors import InvalidInputError
from tests.worker.code.conftest import PLAIN, STEPPED, WINE, code_spec, project
from worker.check import checked
from worker.find import found, read


@pytest.fixture
def check(tmp_path):
    def made(source, **changes):
        folder = project(tmp_path / "project", source)
        return checked(code_spec(**changes), "cpu", folder)

    return made


def test_it_says_how_much_there_is_and_how_long_it_would_take(check):
    told = check(PLAIN, training={"batch_size": 16, "steps": 40, "grad_accum": 2})
    assert told["examples"] == {"train": 124, "validation": 27, "test": 27}
    assert (told["total_steps"], told["steps_per_epoch"], told["examples_per_update"]) == (
        40,
        3,
        32,
    )
    assert told["parameters"] == {"all": 275, "trained": 275}
    assert len(told["losses"]) == 3
    assert set(told["metrics"]) == {"loss", "accuracy"}
    seconds = told["seconds"]
    expected = 40 * seconds["update"] + told["evaluations"] * seconds["evaluation"]
    assert seconds["full_run"] == pytest.approx(expected)
    assert 20 * seconds["full_run"] < seconds["budget"] <= 28 * seconds["full_run"]
    assert told["peak_memory_mb"] > 10
    assert told["repeatable"]
    assert told["warnings"] == ["27 validation examples: noise may hide what separates schedules"]
    json.dumps(told, allow_nan=False)


def test_minutes_bound_the_budget(check):
    told = check(PLAIN, search={"budget": {"full_runs": 10_000, "max_minutes": 0.001}})
    assert told["seconds"]["budget"] == pytest.approx(0.06)


def warned(told):
    return " / ".join(told["warnings"])


def test_a_missing_test_split_is_told(check):
    assert "there is no test split" in warned(check(STEPPED))


def test_a_loss_that_is_not_finite_is_told(check):
    source = PLAIN.replace("test=test", "test=test, loss=lambda out, y: out.sum() * float('nan')")
    told = check(source)
    assert "the loss is not finite in 3 updates" in warned(told)
    assert told["losses"] == [None] * 3


def test_a_loss_that_does_not_fall_is_told(check):
    source = PLAIN.replace("test=test", "test=test, loss=lambda out, y: out.sum() * 0 + 1")
    assert "the loss of the first batch did not fall" in warned(check(source))


def test_parameters_without_a_gradient_are_told(check):
    source = (
        WINE
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(13, 3), nn.Linear(2, 2)
    def forward(self, x):
        return self.used(x)

def build(context):
    train, validation, test = splits(context.seed)
    return Task(Net, train=train, validation=validation, test=test)
"""
    )
    assert "2 parameters get no gradient: unused.weight, unused.bias" in warned(check(source))


@pytest.mark.parametrize(
    "change",
    [
        ("splits(context.seed)", "splits(__import__('time').time_ns() % 2**31)"),
        ("model=net", "model=lambda: (torch.seed(), net())[1]"),
    ],
    ids=["the data", "the weights"],
)
def test_builds_that_differ_are_told(check, change):
    told = check(PLAIN.replace(*change))
    assert not told["repeatable"]
    assert "two builds with the same seed differ" in warned(told)


def test_the_range_test_takes_code_too(tmp_path):
    folder = project(tmp_path, PLAIN)
    spec = code_spec(search={"budget": {"full_runs": 4}}, range_test={"probes": []}, seed=1)
    result = found(spec, "cpu", folder)
    assert result["status"] == "ok"
    assert result["job"]["model"]["source"] == "code"


def test_a_job_that_names_no_model_is_about_the_code(tmp_path):
    job = tmp_path / "job.json"
    spec = {"optimizer": {"name": "sgd"}, "training": {"batch_size": 8, "steps": 9}}
    job.write_text(json.dumps(spec))
    assert read(job, tmp_path).model.source == "code"
    with pytest.raises(InvalidInputError, match="model: Field required"):
        read(job)
    job.write_text("[]")
    with pytest.raises(InvalidInputError, match="not a valid job"):
        read(job, tmp_path)
