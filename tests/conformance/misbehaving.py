"""A task whose training does what its seed says; slots import it as what an operator installed."""

import ctypes
import os
import signal
from pathlib import Path

import torch
from sklearn.datasets import load_wine
from torch import nn

from lrtuner import Task
from lrtuner.job import derived_seed

MARK = "LRTUNER_TEST_MARK"
"""Names the file that tells that a process was killed already."""

UPDATES_BEFORE = 5


def _raise():
    raise ValueError("bad layer")


def _exit():
    os._exit(7)


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault():
    ctypes.string_at(0)


def _take_all_memory():
    torch.empty(1 << 50)


def _kill_once():
    mark = Path(os.environ[MARK])
    if not mark.exists():
        mark.touch()
        _kill()


ACTS = {
    901: _raise,
    902: _exit,
    903: _kill,
    904: _segfault,
    905: _take_all_memory,
    906: _kill_once,
}
"""What happens in a run, by its seed."""

NOT_A_NUMBER = 907

_BY_INIT = {derived_seed(seed, "init"): seed for seed in (*ACTS, NOT_A_NUMBER)}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.seed = _BY_INIT.get(torch.initial_seed())
        self.layers = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(16, 3)
        self.updates = 0

    def forward(self, inputs):
        self.updates += self.training
        if self.updates > UPDATES_BEFORE:
            if self.seed in ACTS:
                ACTS[self.seed]()
            if self.seed == NOT_A_NUMBER:
                inputs = inputs * float("nan")
        return self.head(self.layers(inputs))


def build(context):
    inputs, targets = (torch.tensor(array) for array in load_wine(return_X_y=True))
    inputs = ((inputs - inputs.mean(0)) / inputs.std(0)).float()
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(context.seed))
    parts = [(inputs[part], targets[part]) for part in order.split([124, 27, 27])]
    return Task(model=Net, train=parts[0], validation=parts[1], test=parts[2])
