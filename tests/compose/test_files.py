"""What can be seen of the deployment without Docker: see __main__.py for the rest."""

import re
from pathlib import Path

import pytest
import yaml

from lrtuner.settings import BY_FILE, DatabaseSettings, variable
from service.settings import Settings as ServiceSettings
from worker.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[2]
OURS = ["migrate", "api", "worker", "ray-head", "ray-worker", "ray-driver"]

#: In the image.
ELSEWHERE = {"LRTUNER_DATA_DIR", "LRTUNER_METRICS_PORT", "LRTUNER_METRICS_HOST"}

#: Of the driver of the cluster alone.
OF_RAY = {"LRTUNER_RUNNER", "LRTUNER_RAY_ADDRESS", "LRTUNER_RAY_GPUS_PER_SLOT"}


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


STACK = read("docker-compose.yml")
EXAMPLE = (ROOT / ".env.example").read_text()
NAMED = re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)
FIELDS = {
    variable(field): (settings, field)
    for settings in (ServiceSettings, WorkerSettings)
    for field in settings.model_fields
}

#: Of variables of the files, docker-compose.yml first.
DEFAULTS = {
    name: default
    for file in ("docker-compose.secrets.yml", "docker-compose.yml")
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / file).read_text())
}


@pytest.mark.parametrize(
    ("service", "settings"),
    [("api", ServiceSettings), ("worker", WorkerSettings), ("ray-driver", WorkerSettings)],
)
def test_every_setting_can_be_given_in_env(service, settings):
    known = {variable(name) for name in settings.model_fields} - ELSEWHERE
    given = set(STACK["services"][service]["environment"])
    missing = known - given - (OF_RAY if service == "worker" else set())
    assert not missing, f"add them to docker-compose.yml: {missing}"
    assert {name for name in given if name.startswith("LRTUNER_")} <= known | {
        "LRTUNER_RUNNER",
        "LRTUNER_RAY_ADDRESS",
    }


@pytest.mark.parametrize("name", OURS)
def test_ours_may_do_little(name):
    service = STACK["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["restart"]


@pytest.mark.parametrize("name", STACK["services"])
def test_logs_are_rotated_and_nothing_is_published_beyond_this_machine(name):
    service = STACK["services"][name]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert name == "api" or "ports" not in service


def test_no_password_has_a_default():
    text = (ROOT / "docker-compose.yml").read_text()
    passwords = re.findall(r"PASSWORD: (.*)", text)
    assert passwords
    assert set(passwords) == {"${POSTGRES_PASSWORD?set POSTGRES_PASSWORD in .env}"}


def test_the_password_may_be_a_file():
    by_file = read("docker-compose.secrets.yml")
    told = {name: s for name, s in STACK["services"].items() if "POSTGRES_PASSWORD" in str(s)}
    assert set(by_file["services"]) == set(told)
    for service in by_file["services"].values():
        files = {n: v for n, v in service["environment"].items() if n.endswith(BY_FILE)}
        assert set(files.values()) == {"/run/secrets/postgres_password"}
        assert all(service["environment"][name.removesuffix(BY_FILE)] == "" for name in files)
        assert "postgres_password" in service["secrets"]
    assert variable("database_password") + BY_FILE in by_file["services"]["api"]["environment"]
    assert "database_password" in DatabaseSettings.model_fields


def test_the_ray_cluster_reaches_nothing_else():
    assert STACK["networks"]["ray"] == {"internal": True}
    for name in ("ray-head", "ray-worker"):
        service = STACK["services"][name]
        assert service["networks"] == ["ray"]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
        assert service["secrets"] == ["ray_token"]
    nodes = {STACK["services"][name]["image"] for name in ("ray-head", "ray-worker", "ray-driver")}
    assert len(nodes) == 1  # one Python, one Ray


def test_the_example_sets_nothing_and_names_what_there_is():
    assert not re.findall(r"^\w+=", EXAMPLE, re.MULTILINE)
    named, used = {name for name, _ in NAMED}, set(DEFAULTS) | {"POSTGRES_PASSWORD"}
    assert used <= named, "add them to .env.example"
    assert named <= used | set(FIELDS)


@pytest.mark.parametrize(("name", "text"), NAMED)
def test_what_the_example_says_holds_without_it(monkeypatch, name, text):
    if name in DEFAULTS:
        assert text == DEFAULTS[name]
    elif name in FIELDS:
        settings, field = FIELDS[name]
        monkeypatch.setenv(name, text)
        assert getattr(settings(), field) == settings.model_fields[field].default


def test_every_image_ends_as_an_ordinary_user_without_torch_in_the_api():
    stage = re.compile(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", re.MULTILINE | re.DOTALL)
    stages = dict(stage.findall((ROOT / "Dockerfile").read_text()))
    for name in ("api", "worker"):
        assert re.findall(r"^USER (\w+)", stages[name], re.MULTILINE) == ["lrtuner"]
        assert "HEALTHCHECK" in stages[name]
    assert "torch" not in stages["api"]
    assert "worker" not in re.findall(r"EXTRAS=(\S+)", stages["api"])[0]
