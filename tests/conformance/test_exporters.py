"""The contract of an exporter: what it writes is executed, and gives the schedule's rates."""

import csv
import io
import json
import pkgutil

import numpy as np
import pytest
import yaml

import lrtuner.export
from lrtuner.document import load
from lrtuner.errors import NotFoundError, UnsupportedError
from lrtuner.export import EXPORTERS, exporter, fidelities
from tests.conformance.samples import SAMPLES, config

PAST_THE_END = 25


def _from_json(text, steps):
    return load(json.loads(text))(np.arange(steps)).tolist()


def _from_yaml(text, steps):
    return load(yaml.safe_load(text))(np.arange(steps)).tolist()


def _from_csv(text, steps):
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    return [float(row["lr"]) for row in rows]


def _from_torch(text, steps):
    torch = pytest.importorskip("torch")
    namespace = {}
    exec(compile(text, "schedule_torch.py", "exec"), namespace)
    optimizer = torch.optim.SGD(
        [
            {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-7},
            {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.25e-7},
        ]
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = 123.0  # left over by someone else
    scheduler = namespace["make_scheduler"](optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(0.25 * rates[-1])
        optimizer.step()
        scheduler.step()
    return rates


# How a user of each format gets rates out of it; a format without an entry fails below.
REPLAYS = {"json": _from_json, "yaml": _from_yaml, "csv": _from_csv, "torch": _from_torch}


def test_every_module_is_a_registered_exporter_with_a_replay():
    modules = {module.name for module in pkgutil.iter_modules(lrtuner.export.__path__)}
    assert modules - {"_base", "_formula", "_module"} == set(EXPORTERS) == set(REPLAYS)


@pytest.mark.parametrize("schedule", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("name", EXPORTERS)
def test_the_exported_file_gives_the_rates_it_promises(name, schedule):
    document = config(schedule)
    stated = fidelities(document)[name]
    assert stated.fidelity == "exact"
    steps = schedule.total_steps + PAST_THE_END
    rates = REPLAYS[name](EXPORTERS[name].render(document), steps)
    expected = schedule(np.arange(len(rates)))
    error = np.max(np.abs(np.array(rates) - expected)) / schedule.peak_lr
    assert error <= max(stated.max_rel_error, 0.0) + 1e-15


def test_floats_of_the_json_file_survive_a_yaml_reader():
    document = config(SAMPLES["cosine-4"].model_copy(update={"peak_lr": 1e-05}))
    text = EXPORTERS["json"].render(document)
    assert yaml.safe_load(text) == json.loads(text)
    assert isinstance(yaml.safe_load(text)["peak_lr"], float)


def test_an_unknown_format_names_those_there_are():
    with pytest.raises(NotFoundError, match="json, yaml, csv, torch"):
        exporter("tensorflow2")


def test_a_table_that_would_be_too_long_is_refused_and_says_so():
    document = config(SAMPLES["constant-0"]).model_copy(update={"total_steps": 3_000_000})
    assert fidelities(document)["csv"].fidelity == "unsupported"
    with pytest.raises(UnsupportedError, match="3000000 rows"):
        EXPORTERS["csv"].render(document)
    assert fidelities(document)["torch"].fidelity == "exact"
