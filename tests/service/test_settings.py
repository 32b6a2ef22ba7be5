import subprocess
import sys

import pytest
from pydantic import ValidationError

from service.settings import Settings

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "optuna", "sklearn", "scipy", "worker"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
import service.app
import service.__main__
service.app.create_app().openapi()
"""


def test_needs_neither_torch_nor_optuna():
    subprocess.run([sys.executable, "-c", BLOCKED], check=True, timeout=60)


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_do_not_change_and_do_not_show_passwords():
    settings = Settings(database_url="postgresql://u:secret@h/d", public_url="https://x.org/")
    assert settings.public_url == "https://x.org"
    assert "secret" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.public_url = "https://y.org"  # type: ignore[misc]


@pytest.mark.parametrize(
    "values", [{"max_body_bytes": 0}, {"public_url": "x.org"}, {"max_body_bytes": "many"}]
)
def test_bad_settings_are_refused(values):
    with pytest.raises(ValidationError):
        Settings(**values)
