"""The contract of an exporter: what it writes is run by what it is for, and gives the rates.

How a user of each format gets rates out of it is in `replays/NAME.py`.
"""

import importlib
import json
import pkgutil

import numpy as np
import pytest
import yaml

import lrtuner.export
import tests.conformance.replays
from lrtuner.errors import NotFoundError, UnsupportedError
from lrtuner.export import EXPORTERS, exporter, fidelities
from tests.conformance.samples import SAMPLES, config, reactive

PAST_THE_END = 20

PICTURES = {"svg"}
"""Formats to look at, which give no rates back."""

FRAMEWORKS = {"keras", "optax", "transformers", "lightning"}
"""Formats whose replay needs the `frameworks` extra."""

TOLERANCES = {"keras": 2e-6, "optax": 2e-6}  # single precision; the others 1e-12 of the peak

every_format = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.frameworks) if name in FRAMEWORKS else name
        for name in EXPORTERS
        if name not in PICTURES
    ],
)
every_sample = pytest.mark.parametrize("schedule", SAMPLES.values(), ids=SAMPLES)


def replays(name):
    return importlib.import_module(f"tests.conformance.replays.{name}")


def modules(package):
    names = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return {name for name in names if not name.startswith("_")}


def test_every_module_is_a_registered_exporter_with_a_replay():
    assert modules(lrtuner.export) == set(EXPORTERS)
    assert modules(tests.conformance.replays) == set(EXPORTERS) - PICTURES


@every_sample
@every_format
def test_the_exported_file_gives_the_rates_it_promises(name, schedule):
    document = config(schedule)
    stated = EXPORTERS[name].fidelity(document)
    assert stated.fidelity == "exact"
    steps = schedule.total_steps + PAST_THE_END
    rates = replays(name).replay(EXPORTERS[name].render(document), document, steps)
    assert len(rates) == (schedule.total_steps if name == "csv" else steps)
    error = np.max(np.abs(np.array(rates) - schedule(np.arange(len(rates))))) / schedule.peak_lr
    tolerance = TOLERANCES.get(name, 1e-12)
    assert error <= tolerance
    assert error <= stated.max_rel_error + (1e-7 if name in TOLERANCES else 1e-15)
    assert stated.max_rel_error <= tolerance


PLATEAUS = {
    "patience 3": {"patience": 3},
    "patience 0, floor": {"patience": 0, "factor": 0.5, "min_factor": 0.2},
    "absolute, cooldown": {
        "patience": 1,
        "threshold_mode": "abs",
        "threshold": 0.05,
        "cooldown": 2,
        "factor": 0.3,
    },
    "maximum": {"mode": "max", "patience": 2, "threshold": 0.01},
}


@pytest.mark.parametrize("settings", PLATEAUS.values(), ids=PLATEAUS)
@every_format
def test_a_schedule_that_reacts_is_exported_as_the_same_rule_or_refused(name, settings):
    document = reactive(**settings)
    stated = EXPORTERS[name].fidelity(document)
    if stated.fidelity == "unsupported":
        assert stated.reason
        with pytest.raises(UnsupportedError):
            EXPORTERS[name].render(document)
        return
    rng = np.random.default_rng(0)
    values = [1.0, 0.9, *rng.uniform(0.5, 1.0, 40).tolist(), *[0.7] * 20]
    rates = replays(name).react(EXPORTERS[name].render(document), document, values)
    expected = document.peak_lr * np.array(document.body.factors(values))
    assert len(set(expected)) > 3
    tolerance = TOLERANCES.get(name, 1e-12) * document.peak_lr
    np.testing.assert_allclose(rates, expected, rtol=0, atol=tolerance)


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
