"""export, check and show on real configs, without a service."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrtuner.document import ScheduleDocument, load
from lrtuner.export import EXPORTERS
from tests.conformance.samples import SAMPLES
from tests.conformance.samples import config as document_config

HERE = Path(__file__).parent


@pytest.fixture
def reactive_file(tmp_path):
    """A rule that reacts to a metric, written by hand."""
    rule = {"mode": "min", "monitor": "val_loss", "patience": 3, "threshold": 0.002}
    rule |= {"cooldown": 1, "min_factor": 0.001}
    document = {"kind": "reactive", "peak_lr": 0.1, "body": rule}
    document["optimizer"] = {"name": "sgd", "args": {"momentum": 0.9}}
    path = tmp_path / "reactive.json"
    path.write_text(json.dumps(document))
    return path


# export -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", EXPORTERS)
def test_export_writes_what_the_exporter_renders(run, config_file, tmp_path, format):
    expected = EXPORTERS[format].render(load(config_file))
    assert run("export", config_file, "--format", format).stdout == expected
    result = run("export", config_file, "--format", format, "--output", "out")
    assert result.stdout == "out\n"
    assert (tmp_path / "out").read_text() == expected


def test_an_unknown_format_lists_those_there_are(run, config_file):
    result = run("export", config_file, "--format", "tensorflow")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in EXPORTERS)


def test_an_unsupported_export_says_why_and_writes_nothing(run, tmp_path):
    path = tmp_path / "long.json"
    body = {"family": "constant"}
    path.write_text(json.dumps({"total_steps": 3_000_000, "peak_lr": 0.1, "body": body}))
    result = run("export", path, "--format", "csv", "--output", "out.csv")
    assert result.exit_code == 2
    assert "cannot export to csv: a table of 3000000 rows" in result.stderr
    assert not (tmp_path / "out.csv").exists()


def test_a_config_written_by_hand_becomes_a_complete_one(run, tmp_path):
    by_hand = {"preset": "one_cycle", "total_steps": "100st", "peak_lr": 0.1}
    (tmp_path / "hand.json").write_text(json.dumps(by_hand))
    complete = json.loads(run("export", "hand.json", "--format", "json").stdout)
    assert complete["body"] == {
        "family": "cosine",
        "offset": 0,
        "decay_steps": 70.0,
        "end_factor": 4e-06,
    }
    assert [0, 0.004] in complete["checksum_points"]
    assert complete["checksum_points"] == load(by_hand).checkpoints()
    (tmp_path / "complete.json").write_text(json.dumps(complete))
    assert (
        f"{len(complete['checksum_points'])} checksum points"
        in run("check", "complete.json").stdout
    )


def test_a_published_config_without_points_stays_as_its_hash_says(run, config, tmp_path):
    config["checksum_points"] = None
    config["provenance"]["content_hash"] = ScheduleDocument.model_validate(config).hashed()
    (tmp_path / "published.json").write_text(json.dumps(config))
    text = run("export", "published.json", "--format", "json").stdout
    assert json.loads(text)["checksum_points"] is None
    assert load(json.loads(text)).provenance


def test_a_rule_that_reacts_is_exported_or_refused_with_the_reason(run, reactive_file):
    torch = run("export", reactive_file, "--format", "torch").stdout
    assert "ReduceLROnPlateau" in torch
    result = run("export", reactive_file, "--format", "csv")
    assert result.exit_code == 2
    assert "cannot export to csv: a schedule that reacts to a metric has no rates" in result.stderr


def test_a_file_that_cannot_be_written_is_invalid_and_the_old_one_stays(run, config_file, tmp_path):
    result = run("export", config_file, "--format", "csv", "--output", "no/such/folder.csv")
    assert result.exit_code == 2
    assert "no/such/folder.csv" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {config_file.name}


# check ------------------------------------------------------------------------------------------


def test_check_says_what_it_has_checked(run, config_file):
    result = run("check", config_file)
    assert result.exit_code == 0
    assert result.stdout.startswith("ok: ")
    for words in (
        "warmup + cosine, peak 0.131, 380 steps",
        "format 1.0 (closed_form)",
        "checksum points",
        "content hash",
    ):
        assert words in result.stdout
    assert "no checksum" not in result.stdout


def test_check_does_not_claim_more_than_it_did(run, tmp_path):
    bare = {"total_steps": 10, "peak_lr": 0.1, "body": {"family": "constant"}}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    out = run("check", "bare.json").stdout
    assert "no checksum points, no content hash" in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(peak_lr=0.132), "checksum point at step 0"),
        (
            lambda c: c["checksum_points"][3].__setitem__(1, 0.5),
            "checksum point at step 19 promises 0.5, but the schedule gives 0.131",
        ),
        (lambda c: c.update(schema_version="2.0"), "schema_version"),
        (lambda c: c.update(kind="sometimes"), "kind"),
        (lambda c: c.update(body={"family": "zigzag"}), "'cosine_restarts'"),
        (lambda c: c["verdict"].update(p_value=0.5), "content_hash"),
        (lambda c: c["body"].update(end_factor=-1.0), "end_factor"),
        (lambda c: c.update(surprise=1), "surprise"),
        (lambda c: c.pop("total_steps"), "total_steps"),
    ],
)
def test_check_names_what_is_wrong(run, config, tmp_path, change, words):
    broken = copy.deepcopy(config)
    change(broken)
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    result = run("check", "broken.json")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_check_says_which_kind_it_is(run, reactive_file, tmp_path):
    assert run("check", reactive_file).stdout == (
        f"ok: {reactive_file}: plateau on val_loss, peak 0.1; checked: format 1.0 (reactive)\n"
    )
    (tmp_path / "run.yaml").write_text("preset: wsd\nunit: epoch\ntotal_steps: 20\npeak_lr: 0.1\n")
    out = run("check", "run.yaml").stdout
    assert "constant + cooldown, peak 0.1, 20 epochs; checked: format 1.0 (closed_form)" in out


@pytest.mark.parametrize("command", ["check", "show", "export"])
def test_a_file_that_is_no_config_is_invalid(run, tmp_path, command):
    (tmp_path / "bad.json").write_text("{")
    options = ["--format", "csv"] if command == "export" else []
    assert run(command, "bad.json", *options).exit_code == 2
    assert "cannot read" in run(command, "missing.json", *options).stderr


# show -------------------------------------------------------------------------------------------


def test_show_draws_schedule_verdict_and_provenance(run, config_file):
    assert run("show", config_file).stdout == (HERE / "show.txt").read_text(encoding="utf-8")


def test_show_falls_back_to_ascii(config_file):
    command = [sys.executable, "-m", "lrtuner.cli", "show", str(config_file)]
    env = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, env=env, check=True)
    assert done.stdout.decode("ascii") == (HERE / "show-ascii.txt").read_text()


@pytest.mark.parametrize("name", SAMPLES)
def test_show_puts_every_family_in_words(run, tmp_path, name):
    schedule = SAMPLES[name]
    (tmp_path / "sample.json").write_text(document_config(schedule).text())
    out = " ".join(run("show", "sample.json").stdout.split())
    family = schedule.body.family.replace("_", " ")
    assert f"body {family}" in out
    if schedule.warmup:
        assert f"warmup {schedule.warmup.curve}, " in out
    if schedule.cooldown:
        assert f"cooldown {schedule.cooldown.curve.replace('_', ' ')}" in out
    own = set(type(schedule.body).model_fields) - {"family", "offset"}
    told = out.partition(f"body {family}")[2]
    assert all(f"{field} " in told for field in own if getattr(schedule.body, field) is not None)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            {"unit": "epoch", "total_steps": 30, "preset": "sgdr", "cycles": 3},
            ["30 epochs", "epoch 29", "in the last epoch, after 29 epochs", "t_mult 2", "cosine"],
        ),
        (
            {"unit": "second", "total_steps": "1h", "preset": "wsd"},
            [
                "3600 seconds",
                "second 3599",
                "720 seconds (20%) from second 2880",
                "from second 3600",
            ],
        ),
        (
            {"body": {"family": "table", "values": [1.0, 0.5] * 50}},
            ["values [1, 0.5, 1, 0.5, 1, 0.5, ...] (100)"],
        ),
        (
            {"body": {"family": "multistep", "milestones": [30, 60], "factors": [0.1, 0.01]}},
            ["milestones [30, 60], factors [1, 0.1, 0.01]"],
        ),
        (
            {
                "body": {"family": "constant"},
                "cooldown": {
                    "start": 75,
                    "steps": 25,
                    "curve": "power",
                    "power": 2,
                    "end_factor": 0.1,
                },
                "warmup": {"steps": 10, "curve": "exponential", "start_factor": 0.01},
                "min_factor": 0.05,
            },
            [
                "exponential, 10 steps (10%), from 0.001",
                "power 2, 25 steps (25%) from step 75, to 0.1 of the peak",
                "0.005 after the warmup (0.05 of the peak)",
            ],
        ),
    ],
)
def test_show_puts_units_curves_and_lists_in_words(run, tmp_path, data, told):
    preset = data.pop("preset", None)
    if preset:
        data["preset"] = {"name": preset} | (
            {"cycles": data.pop("cycles")} if "cycles" in data else {}
        )
    (tmp_path / "some.json").write_text(json.dumps({"total_steps": 100, "peak_lr": 0.1} | data))
    out = " ".join(run("show", "some.json").stdout.split())
    for words in told:
        assert words in out


def test_show_puts_a_rule_that_reacts_in_words(run, reactive_file):
    out = run("show", reactive_file).stdout
    assert out.splitlines()[0].endswith(": plateau on val_loss, peak 0.1")
    for words in (
        "0.1, the rate at the start",
        "val_loss, once per epoch; lower is better",
        "more than 0.2 % below the best value so far",
        "to 0.1 of what it was, never below 0.0001",
        "4 epochs in a row did not improve",
        "1 epoch after each reduction, not counted",
        "sgd (momentum 0.9)",
    ):
        assert words in out
    assert "│" not in out


def test_show_does_without_verdict_and_provenance(run, tmp_path):
    bare = {"total_steps": 10, "peak_lr": 0.1, "body": {"family": "constant"}}
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    out = run("show", "bare.json").stdout
    assert "none in this config" in out
    assert "baseline" not in out


def test_show_does_without_a_baseline_that_it_cannot_read(run, config, tmp_path):
    config["verdict"]["baseline"] = {"family": "of a later version"}
    config["provenance"]["content_hash"] = ScheduleDocument.model_validate(config).hashed()
    (tmp_path / "later.json").write_text(json.dumps(config))
    result = run("show", "later.json")
    assert result.exit_code == 0
    assert "confirmed" in result.stdout


def test_words_of_strangers_do_not_steer_the_terminal(run, config, tmp_path):
    config["verdict"]["reason"] = "good \x1b[2J\x07 [bold]really[/bold]\nverdict  confirmed"
    config["optimizer"]["name"] = "sgd\x9b31m"
    config["provenance"]["content_hash"] = ScheduleDocument.model_validate(config).hashed()
    (tmp_path / "odd.json").write_text(json.dumps(config))
    out = run("show", "odd.json").stdout  # `run` looks for control characters
    assert "[bold]really[/bold] verdict  confirmed" in out
    assert "\x9b" not in out


# summary ----------------------------------------------------------------------------------------


def test_a_summary_is_markdown(run, config_file, reactive_file, tmp_path):
    result = run("summary", config_file)
    assert result.exit_code == 0
    assert result.stdout.startswith("## warmup + cosine, peak 0.131, 380 steps\n")
    assert "### Against config.json" in run("summary", config_file, "--against", config_file).stdout
    for arguments in ([reactive_file], [config_file, "--against", reactive_file]):
        refused = run("summary", *arguments)
        assert refused.exit_code == 2
        assert "reacts to a metric" in refused.stderr


def test_check_as_json(run, config_file):
    told = json.loads(run("check", config_file, "--json").stdout)
    assert (told["ok"], told["kind"]) == (True, "closed_form")
    assert told["title"] == "warmup + cosine, peak 0.131, 380 steps"
    assert "content hash" in told["checked"]
