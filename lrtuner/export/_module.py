"""The parts that the Python modules of several exports share."""

import sys
from collections.abc import Iterable

from lrtuner.document import AnyDocument, ReactiveDocument

_CLASSES = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adadelta": "Adadelta",
    "adafactor": "Adafactor",
    "adagrad": "Adagrad",
    "adamax": "Adamax",
    "nadam": "NAdam",
    "radam": "RAdam",
    "muon": "Muon",
}

TORCH_LOOPS = {
    "step": """\
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()      # once per optimizer step: not per epoch, not per micro-batch""",
    "epoch": """\
    for epoch in range(TOTAL_STEPS):
        ...
        scheduler.step()      # once per epoch: not per optimizer step""",
    "second": """\
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()      # once per optimizer step; it measures the time by itself""",
}
"""When a training loop in torch steps a scheduler of each unit."""


def module(doc: str, imports: Iterable[str], *parts: str) -> str:
    """The source of a module: its docstring, the import lines, and its definitions."""
    ours: list[str] = []
    others: list[str] = []
    for line in sorted(set(imports), key=lambda line: (line.startswith("from"), line)):
        (ours if line.split()[1] in sys.stdlib_module_names else others).append(line)
    groups = "\n\n".join("\n".join(lines) for lines in (ours, others) if lines)
    head = f'"""{doc.strip()}\n"""\n\n{groups}'
    return f"{head}\n\n" + "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def written(document: AnyDocument) -> str:
    """The line that says who wrote the module, and for which job."""
    provenance = None if isinstance(document, ReactiveDocument) else document.provenance
    told = f" {provenance.tool_version}, job {provenance.job_id}" if provenance else ""
    return f"Written by lrtuner{told}."


def summary(document: AnyDocument) -> str:
    """The schedule in a few words."""
    family, peak = document.body.family, document.peak_lr
    if isinstance(document, ReactiveDocument):
        return f"{family} on {document.body.monitor}, peak {peak:g}"
    return f"{family}, {document.total_steps} {document.unit}s, peak {peak:g}"


def torch_class(document: AnyDocument) -> str:
    """The class in `torch.optim` of the optimizer that the schedule was tuned for."""
    optimizer = document.optimizer
    return _CLASSES.get(optimizer.name, "SGD") if optimizer else "SGD"


def grad_accum(document: AnyDocument) -> int:
    """How many micro-batches make an optimizer step."""
    return document.context.grad_accum if document.context else 1


TORCH_IMPORTS = (
    "from torch.optim import Optimizer",
    "from torch.optim.lr_scheduler import LambdaLR",
)

CLOCK_IMPORTS = (
    "import time",
    "from typing import Any",
    "from torch.optim import Optimizer",
    "from torch.optim.lr_scheduler import LRScheduler",
)

_MAKE = '''def make_scheduler(optimizer: Optimizer) -> {returned}:
    """Attach the schedule. Rates of several param groups keep their ratios; the largest peaks.

    When resuming, make it first and then load the states of the optimizer and of the scheduler.
    """
    largest = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        # the base rate is a ratio here, so that the rate itself is not rounded again
        group["initial_lr"] = group["lr"] = group["lr"] / largest if largest else 1.0
    return {made}
'''

_CLOCK = '''class ClockLR(LRScheduler):
    """The rate at the seconds trained so far. They are kept in the state."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.elapsed, self._now = 0.0, time.monotonic()
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        if self.last_epoch > 0:  # 0 while it is made
            self._count()
        return [ratio * learning_rate(self.elapsed) for ratio in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        self._count()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._now = time.monotonic()  # the time since the state was saved does not count

    def _count(self) -> None:
        now = time.monotonic()
        self.elapsed, self._now = self.elapsed + now - self._now, now
'''


def lambda_scheduler(rate: str = "learning_rate") -> str:
    """`make_scheduler(optimizer)`: a LambdaLR over `rate`, a function of the scheduler's steps.

    It needs TORCH_IMPORTS.
    """
    return _MAKE.format(returned="LambdaLR", made=f"LambdaLR(optimizer, {rate})")


def clock_scheduler() -> str:
    """`make_scheduler(optimizer)` where time is counted in seconds. It needs CLOCK_IMPORTS."""
    return _CLOCK + "\n\n" + _MAKE.format(returned="ClockLR", made="ClockLR(optimizer)")


PLATEAU_IMPORTS = (
    "from torch.optim import Optimizer",
    "from torch.optim.lr_scheduler import ReduceLROnPlateau",
)

_PLATEAU = '''PEAK_LR = {peak_lr!r}


def make_scheduler(optimizer: Optimizer) -> ReduceLROnPlateau:
    """Attach the schedule. Rates of several param groups keep their ratios; the largest peaks."""
    largest = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group["lr"] = PEAK_LR * (group["lr"] / largest if largest else 1.0)
    return ReduceLROnPlateau(
        optimizer,
        mode={p.mode!r},
        factor={p.factor!r},
        patience={p.patience!r},
        threshold={p.threshold!r},
        threshold_mode={p.threshold_mode!r},
        cooldown={p.cooldown!r},
        min_lr=[{p.min_factor!r} * group["lr"] for group in optimizer.param_groups],
        eps=0.0,  # by default torch ignores reductions smaller than 1e-8
    )
'''


def plateau_scheduler(document: ReactiveDocument) -> str:
    """`make_scheduler(optimizer)`: torch's own class. It needs PLATEAU_IMPORTS."""
    return _PLATEAU.format(peak_lr=document.peak_lr, p=document.body)
