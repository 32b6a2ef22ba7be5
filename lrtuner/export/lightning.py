"""A self-contained module for Lightning: the PyTorch one, and when Lightning is to step it."""

import json

from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument
from lrtuner.export import _formula
from lrtuner.export._base import Exporter, computed
from lrtuner.export._module import (
    CLOCK_IMPORTS,
    PLATEAU_IMPORTS,
    TORCH_IMPORTS,
    clock_scheduler,
    grad_accum,
    lambda_scheduler,
    module,
    plateau_scheduler,
    summary,
    torch_class,
    written,
)

_STEPPED = {
    "step": "after every optimizer step, not after every micro-batch",
    "epoch": "at the end of every epoch",
    "second": "after every optimizer step; it measures the time by itself",
}

_LENGTH = {
    "step": "max_steps=TOTAL_STEPS",
    "epoch": "max_epochs=TOTAL_STEPS",
    "second": 'max_time={"seconds": TOTAL_STEPS}',
}

_IMPORTS = ("from typing import Any",)

_CONFIG = '''def lr_scheduler_config(optimizer: Optimizer) -> dict[str, Any]:
    """What `configure_optimizers` returns under "lr_scheduler"."""
    return {{
        "scheduler": make_scheduler(optimizer),
        "interval": "{interval}",
        "frequency": 1,  # Lightning counts any other afresh in every epoch
{monitored}    }}
'''

_MONITORED = """\
        "monitor": {monitor},
        "strict": True,  # an error where the metric was not logged
"""


def render(schedule: ScheduleDocument) -> str:
    """The module's source: the rates, `make_scheduler` and `lr_scheduler_config`."""
    doc = _doc(schedule, _STEPPED[schedule.unit], [_LENGTH[schedule.unit]])
    config = _CONFIG.format(interval="epoch" if schedule.unit == "epoch" else "step", monitored="")
    imports, formula = [*_formula.imports(schedule), *_IMPORTS], _formula.source(schedule)
    if schedule.unit == "second":
        return module(doc, [*imports, *CLOCK_IMPORTS], formula, clock_scheduler(), config)
    return module(doc, [*imports, *TORCH_IMPORTS], formula, lambda_scheduler(), config)


def render_reactive(document: ReactiveDocument) -> str:
    """The module's source: torch's `ReduceLROnPlateau`, and `lr_scheduler_config`."""
    monitor = json.dumps(document.body.monitor)
    doc = _doc(document, f"once per {document.unit}, with what was logged as {monitor}", [])
    config = _CONFIG.format(interval=document.unit, monitored=_MONITORED.format(monitor=monitor))
    return module(doc, [*_IMPORTS, *PLATEAU_IMPORTS], plateau_scheduler(document), config)


def _doc(document: AnyDocument, stepped: str, limits: list[str]) -> str:
    batches = grad_accum(document)
    limits = limits + ([f"accumulate_grad_batches={batches}"] if batches > 1 else [])
    return f"""
Learning-rate schedule for Lightning: {summary(document)}.

    def configure_optimizers(self):  # of the LightningModule
        optimizer = torch.optim.{torch_class(document)}(self.parameters(), lr=PEAK_LR)
        return {{"optimizer": optimizer, "lr_scheduler": lr_scheduler_config(optimizer)}}

    trainer = Trainer({", ".join(limits) or "..."})

With automatic optimization, Lightning steps it {stepped}.
It saves and loads its state with its own checkpoints.

{written(document)}
"""


EXPORTER = Exporter(
    title="a self-contained module for Lightning's configure_optimizers",
    media_type="text/x-python",
    filename="schedule_lightning.py",
    closed_form=render,
    judge=computed,
    reactive=render_reactive,
)
