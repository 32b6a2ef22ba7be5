"""A self-contained module for fastai (2.8): a `ParamScheduler` for `Learner.fit`.

fastai says before every batch which part of the training is done, and sets what the callback
answers; its optimizer is none of torch's.
"""

from lrtuner.document import ReactiveDocument, ScheduleDocument
from lrtuner.export import _formula, _plateau
from lrtuner.export._base import Exporter, computed_by_counting
from lrtuner.export._module import grad_accum, module, summary, written

_SCHEDULER = '''class Schedule(ParamScheduler):
    """Sets the rate before each batch. Groups keep the ratios that `fit` got in its `lr`."""

    def __init__(self) -> None:
        super().__init__({{"lr": self.rates}})

    def before_fit(self) -> None:
        super().before_fit()
        self.batches = self.n_epoch * len(self.dls.train)
        self.batches_per_{unit} = {per_unit}
        {unit}s = self.batches // self.batches_per_{unit}
        if {unit}s != TOTAL_STEPS:
            raise ValueError(
                f"the schedule is for {{TOTAL_STEPS}} {unit}s, this fit makes {{{unit}s}}: "
                "change its epochs, or rescale the schedule and export it again"
            )
        rates = [hyper["lr"] for hyper in self.opt.hypers]
        self.ratios = [rate / max(rates) for rate in rates]

    def rates(self, pos: float) -> list[float]:
        """The rate of each param group once a share `pos` of the batches is done."""
        rate = learning_rate(round(pos * self.batches) // self.batches_per_{unit})
        return [ratio * rate for ratio in self.ratios]


def callback() -> Schedule:
    """The schedule, for one `fit`."""
    return Schedule()
'''

_ACCUMULATES = """\
# Batches per optimizer step. More than one are the doing of fastai's GradientAccumulation.
GRAD_ACCUM = {}
"""

_PLATEAU = '''class ReduceOnPlateau(TrackerCallback):
    """Sets the rate after every {unit}. Groups keep the ratios that `fit` got in its `lr`."""

    def __init__(self) -> None:
        super().__init__(monitor={monitor})

    def before_fit(self) -> None:
        super().before_fit()
        rates = [hyper["lr"] for hyper in self.opt.hypers]
        self.ratios = [rate / max(rates) for rate in rates]
        self.plateau = Plateau()
        self.set_rate(self.plateau.rate)

{hook}
    def set_rate(self, rate: float) -> None:
        """Give each param group its share of the rate."""
        self.opt.set_hyper("lr", [ratio * rate for ratio in self.ratios])


def callback() -> ReduceOnPlateau:
    """The schedule, for one `fit`."""
    return ReduceOnPlateau()
'''

_AT_EPOCHS = """\
    def after_epoch(self) -> None:
        self.set_rate(self.plateau.step(self.recorder.values[-1][self.idx]))
"""

_AT_STEPS = '''\
    def after_step(self) -> None:
        self.set_rate(self.plateau.step(self.loss.item()))

    def after_epoch(self) -> None:
        """Nothing: the rule has seen every step."""
'''

_NAMES = {"val_loss": "valid_loss"}
"""What fastai calls a metric."""


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `learning_rate(t)`, `Schedule` and `callback()`."""
    by_step = schedule.unit == "step"
    epochs = "EPOCHS" if by_step else "TOTAL_STEPS"
    doc = f"""
Learning-rate schedule for fastai: {summary(schedule)}.

    learn.fit({epochs}, lr=PEAK_LR, cbs=callback())  # or lr=slice(PEAK_LR / 100, PEAK_LR)

Give it to fit, not to fit_one_cycle and the like: these bring a schedule of their own, and one of
the momentum, which stays as it is here.

{written(schedule)}
"""
    accumulates = [_ACCUMULATES.format(grad_accum(schedule))] if by_step else []
    per_unit = "GRAD_ACCUM" if by_step else "len(self.dls.train)"
    return module(
        doc,
        [*_formula.imports(schedule), "from fastai.callback.schedule import ParamScheduler"],
        _formula.source(schedule),
        *accumulates,
        _SCHEDULER.format(unit=schedule.unit, per_unit=per_unit),
    )


def render_reactive(document: ReactiveDocument) -> str:
    """The module's source: a callback that follows the rule of torch's `ReduceLROnPlateau`."""
    monitor = _NAMES.get(document.body.monitor, document.body.monitor)
    body = document.body.model_copy(update={"monitor": monitor})
    looked = f"It looks at {monitor} after every epoch: one of learn.recorder.metric_names."
    told = {"monitor": "MONITOR", "hook": _AT_EPOCHS}
    if document.unit == "step":
        looked = "It looks at the loss of the batch after every optimizer step."
        told = {"monitor": '"train_loss"', "hook": _AT_STEPS}
    doc = f"""
Learning-rate schedule for fastai: {summary(document)}.

    learn.fit(EPOCHS, lr=PEAK_LR, cbs=callback())  # or lr=slice(PEAK_LR / 100, PEAK_LR)

{looked}

fastai's own ReduceLROnPlateau has another rule: it drops at the value before, and knows neither a
relative threshold nor a cooldown.

{written(document)}
"""
    return module(
        doc,
        ["import math", "from fastai.callback.tracker import TrackerCallback"],
        _plateau.source(document.model_copy(update={"body": body})),
        _PLATEAU.format(unit=document.unit, **told),
    )


EXPORTER = Exporter(
    title="a self-contained module for fastai with the schedule as a ParamScheduler",
    media_type="text/x-python",
    filename="schedule_fastai.py",
    closed_form=render,
    judge=computed_by_counting,
    reactive=render_reactive,
)
