"""Small projects of a user's own code, and the task of a job with each."""

import hashlib
from textwrap import dedent

import pytest

from lrtuner.projects import pack, project_path
from tests.worker.conftest import CPU, spec_of
from worker.task import make_task

CODE = {"source": "code", "id": None}

WINE = """
import torch
from sklearn.datasets import load_wine
from torch import nn
from lrtuner import Context, Task

def splits(seed):
    inputs, targets = (torch.tensor(array) for array in load_wine(return_X_y=True))
    inputs = ((inputs - inputs.mean(0)) / inputs.std(0)).float()
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    return [(inputs[part], targets[part]) for part in order.split([124, 27, 27])]

def net():
    return nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
"""

PLAIN = (
    WINE
    + """
def build(context: Context) -> Task:
    train, validation, test = splits(context.seed)
    return Task(model=net, train=train, validation=validation, test=test)
"""
)

# a map-style dataset with augmentation, batches that are dicts, batch norm, a metric of its own
STEPPED = (
    WINE
    + """
import random
import numpy as np

class Rows(torch.utils.data.Dataset):
    def __init__(self, inputs, targets, noise):
        self.inputs, self.targets, self.noise = inputs, targets, noise

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, i):
        x = self.inputs[i] + self.noise * (torch.randn(13) + random.random() + np.random.rand())
        return {"x": x, "y": self.targets[i]}

def step(model, batch):
    logits = model(batch["x"])
    hits = (logits.argmax(-1) == batch["y"]).float().mean()
    return nn.functional.cross_entropy(logits, batch["y"]), {"accuracy": hits, "half": 0.5}

def normed():
    first = nn.Linear(13, 16)
    first.bias.data.fill_(random.random() + np.random.rand())
    return nn.Sequential(first, nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))

def build(context):
    (x, y), (vx, vy), _ = splits(context.seed)
    return Task(model=normed, train=Rows(x, y, 0.1), validation=Rows(vx, vy, 0.0), step=step)
"""
)


def project(folder, source, **files):
    """A folder with this `lrtune.py` and other files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lrtune.py").write_text(dedent(source))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text))
    return folder


def uploaded(data_dir, folder):
    """The id of the folder's project, which is then among the uploads in `data_dir`."""
    archive = data_dir / "project.zip"
    pack(folder, archive)
    code_id = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    kept = project_path(data_dir, code_id)
    kept.parent.mkdir(exist_ok=True)
    archive.rename(kept)
    return code_id


def code_spec(**changes):
    changes = {"model": CODE, "dataset": {"source": "code"}, **changes}
    return spec_of(**changes)


@pytest.fixture
def task_in(tmp_path):
    """The task of a project with this `lrtune.py`."""

    def made(source, *, files=None, **changes):
        folder = project(tmp_path / "project", source, **(files or {}))
        return make_task(code_spec(**changes), CPU, folder)

    return made
