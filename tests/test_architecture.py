"""What the import contracts cannot see: what is really loaded, and where a transaction ends."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
{code}
"""

FRAMEWORKS = {"torch", "optuna", "sklearn", "keras", "optax", "transformers", "lightning"}


def run_without(absent: set[str], code: str) -> None:
    source = WITHOUT.format(absent=sorted(absent), code=code)
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True, cwd=ROOT)


def test_the_service_starts_without_torch_and_optuna():
    what_takes_memory = {"alembic", "mako", "pygments", "rich", "httpx"}
    run_without(
        FRAMEWORKS | what_takes_memory | {"scipy", "worker"},
        "from service.app import create_app\nfrom service.settings import Settings\n"
        "create_app(Settings(database_url='sqlite:////tmp/never-opened/x.db'))",
    )


def test_the_supervisor_of_a_job_needs_no_torch():
    run_without(FRAMEWORKS | {"scipy", "fastapi", "uvicorn", "service"}, "import worker.__main__")


def test_the_light_part_needs_neither_framework_nor_server():
    server = {"fastapi", "uvicorn", "sqlalchemy", "alembic", "psycopg", "scipy", "jinja2"}
    run_without(
        FRAMEWORKS | server | {"service", "worker"},
        "import lrtuner, lrtuner.cli, lrtuner.client, lrtuner.export\n"
        "lrtuner.load({'total_steps': 9, 'peak_lr': 1.0, 'body': {'family': 'constant'}})",
    )


def test_a_process_that_trains_needs_no_database():
    run_without(
        {"sqlalchemy", "alembic", "psycopg", "fastapi", "service"},
        "import worker.child, worker.order",
    )


def test_what_ends_with_its_parent_listens_for_that_before_it_imports_what_trains():
    slow = {"torch", "numpy", "pydantic"}
    run_without(slow, "import worker.child, worker.runners.inside")


def test_other_finders_read_the_tasks_of_the_benchmark_with_little():
    """Only what `benchmarks.finder.environments` installs beside each of them."""
    rest = {"sqlalchemy", "alembic", "optuna", "rich", "typer", "httpx", "jinja2", "pathspec"}
    rest |= {"prometheus_client", "schedulefree", "prodigyopt", "pytorch_optimizer"}
    run_without(rest | {"pyarrow", "PIL", "lightning"}, "import benchmarks.finder.serving")


def test_the_check_above_can_fail():
    with pytest.raises(subprocess.CalledProcessError):
        run_without({"numpy"}, "import lrtuner")


def test_only_edges_end_transactions():
    for path in [*ROOT.glob("lrtuner/**/*.py"), *ROOT.glob("worker/**/*.py")]:
        calls = {
            node.func.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        if path.relative_to(ROOT).as_posix() != "lrtuner/store/engine.py":
            assert "commit" not in calls, path


def test_no_machine_path_is_written_down():
    for folder in ("lrtuner", "service", "worker", "migrations", "benchmarks", "examples"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            assert "/home/" not in path.read_text(), path
