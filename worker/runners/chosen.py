"""The runners behind the names that LRTUNER_RUNNER knows."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from lrtuner.job import JobSpec
from worker.rules import Rules
from worker.runners.local import local
from worker.runners.runner import Runner

Start = Callable[[Rules, JobSpec, torch.device, int], AbstractContextManager[Runner | None]]
"""Starts who trains the job, in so many slots; None where the job's own process does, alone."""

RUNNERS: dict[str, Start] = {"local": local}
