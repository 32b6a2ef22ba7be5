"""Where uploaded projects are kept, named by their content."""

from pathlib import Path

from lrtuner.datasets.folder import sha256
from lrtuner.errors import InvalidCodeError, NotFoundError


def projects(data_dir: Path) -> Path:
    """The folder of all of them."""
    return data_dir / "code"


def project_path(data_dir: Path, code_id: str) -> Path:
    """Where the project of that id is kept: `sha256-<hex>.zip`."""
    return projects(data_dir) / f"{code_id.replace(':', '-')}.zip"


def find_project(data_dir: Path, code_id: str) -> Path:
    """The zip file of a project, its content checked against its name.

    Raises:
        NotFoundError: it is not in the folder.
        InvalidCodeError: its content has changed.
    """
    path = project_path(data_dir, code_id)
    if not path.is_file():
        raise NotFoundError(
            f"code {code_id} is not in {projects(data_dir)}: the API and its workers must share "
            "the folder that LRTUNER_DATA_DIR names"
        )
    if sha256(path) != code_id:
        raise InvalidCodeError(f"the file of code {code_id} has changed on disk")
    return path
