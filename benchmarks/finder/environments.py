"""A virtual environment for each of the other finders: some of them clash."""

import subprocess
import venv
from pathlib import Path

PEERS = {
    "fastai": "fastai==2.8.12",
    "lightning": "lightning==2.6.6",
    "torch_lr_finder": "torch-lr-finder==0.2.2",
    "ignite": "pytorch-ignite==0.5.5",
}

_TO_READ_TASKS = [
    "torch",
    "numpy",
    "pydantic",
    "pydantic-settings",
    "python-json-logger",
    "pyyaml",
    "scikit-learn",
]

ROOT = Path(__file__).parents[2]


def python_of(peer: str, folder: Path) -> Path:
    """The interpreter of the peer's environment under `folder`, which is made where it lacks."""
    home = folder / peer
    python = home / "bin" / "python"
    requirements = [*_TO_READ_TASKS, PEERS[peer]]
    installed = home / ".installed"
    if installed.exists() and installed.read_text().split() == requirements:
        return python
    print(f"installing {PEERS[peer]} into {home}, once", flush=True)
    venv.create(home, clear=True, with_pip=True)
    constraints = ROOT / "constraints.txt"  # pins torch
    pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    subprocess.run([*pip, *requirements], check=True)
    installed.write_text("\n".join(requirements) + "\n")
    return python
