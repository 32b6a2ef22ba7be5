"""The README names everything there is, and its code runs."""

import json
import pkgutil
import re
from pathlib import Path

import pytest

import lrtuner
import lrtuner.integrations
from lrtuner.cli import app as cli
from lrtuner.export import EXPORTERS
from lrtuner.job import JobSpec
from lrtuner.lifecycle import JobStatus
from lrtuner.losses import LOSSES
from lrtuner.metrics import METRICS
from lrtuner.optimizers import OPTIMIZERS
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.curves import COOLDOWNS, WARMUPS
from lrtuner.schedules.presets import PRESETS
from lrtuner.sources import DATASETS, MODELS
from service.app import create_app
from service.problem import KINDS
from service.settings import Settings as ServiceSettings
from tests.lrtuner.test_document import SCHEDULE, recommended
from worker.settings import Settings as WorkerSettings

README = (Path(__file__).parents[1] / "README.md").read_text()

# codes that stand for a fault of ours
NOT_DOCUMENTED = {"error", "lease_lost"}

NAMES = {
    "families": {**FAMILIES, "plateau": None},
    "presets": PRESETS,
    "loaders": [
        f"lrtuner.integrations.{module.name}.scheduler"
        for module in pkgutil.iter_modules(lrtuner.integrations.__path__)
        if not module.name.startswith("_")
    ],
    "formats": EXPORTERS,
    "models": MODELS,
    "datasets": DATASETS,
    "optimizers": OPTIMIZERS,
    "losses": LOSSES,
    "metrics": set(METRICS) - {"loss"},
    "warmup curves": WARMUPS,
    "cooldown curves": COOLDOWNS,
    "statuses": list(JobStatus),
    "problems": set(KINDS) - NOT_DOCUMENTED,
    "settings": [
        f"LRTUNER_{name.upper()}"
        for settings in (ServiceSettings, WorkerSettings)
        for name in settings.model_fields
    ],
    "job fields": {"model", "dataset", "range_test", *JobSpec.model_fields} - {"name", "seed"},
}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_is_in_the_readme(kind):
    missing = [name for name in NAMES[kind] if not re.search(rf"`{name}\b", README)]
    assert not missing


def test_every_endpoint_is_in_the_readme():
    paths = create_app(ServiceSettings()).openapi()["paths"]
    missing = [
        path for path in paths if f"{path}`" not in README and not path.startswith("/problems")
    ]
    assert not [path for path in missing if path != "/"]


def test_every_command_is_in_the_readme():
    listed = re.search(r"`lrtuner (serve[^`]*)`", README)
    assert listed
    names = {
        command.name or getattr(command.callback, "__name__", "")
        for command in cli.registered_commands
    }
    assert set(re.split(r"[\s|]+", listed.group(1))) == names


def test_the_documented_job_is_valid_and_the_example_file_is_the_same_question():
    job = JobSpec.model_validate_json(blocks("json")[0])
    example = Path(__file__).parents[1] / "examples" / "digits-mlp.json"
    assert JobSpec.model_validate_json(example.read_text()).model_dump(
        exclude={"metadata", "name"}
    ) == job.model_dump(exclude={"metadata", "name"})


def test_the_documented_configs_load():
    config, reactive, preset = (lrtuner.load(json.loads(text)) for text in blocks("json")[1:])
    assert config(19) == SCHEDULE(19)
    assert reactive.body.factors([1.0] * 9)[-1] == 0.25
    assert preset.warmup.steps == 249.0


def test_the_python_code_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    Path("schedule.json").write_text(recommended().text())
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})


def test_no_measured_figure_is_left_open():
    assert "@" not in re.sub(r"`[^`]*`", "", README).replace("user:password@host", "")
