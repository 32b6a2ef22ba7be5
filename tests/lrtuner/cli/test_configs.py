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

HERE = Path(__file__).parent


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
        "format 1.0",
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
        (lambda c: c["checksum_points"][3].__setitem__(1, 0.5), "checksum point at step"),
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
