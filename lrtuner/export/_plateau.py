"""The rule of a schedule that reacts to a metric as Python of its own."""

from lrtuner.document import ReactiveDocument
from lrtuner.schedules.plateau import Plateau

_RULE = '''MONITOR = "{rule.monitor}"
PEAK_LR = {peak_lr!r}


class Plateau:
    """The rate drops when {rule.monitor} did not improve {patience} times in a row.

    The rule of torch's `ReduceLROnPlateau`. `vars(plateau)` is its whole state: to resume, update
    that of a new one with what was kept.
    """

    def __init__(self) -> None:
        self.rate = PEAK_LR
        self.best = {worst}
        self.bad = 0  # values in a row that did not improve
        self.cooling = 0  # values left that are not counted as bad

    def step(self, value: float) -> float:
        """Take the next value of the metric; the rate from now on. NaN is no improvement."""
        if value {better}:
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > {rule.patience}:
            self.rate = max(self.rate * {rule.factor!r}, {lowest!r})
            self.cooling, self.bad = {rule.cooldown}, 0
        return self.rate
'''


def source(document: ReactiveDocument) -> str:
    """A class `Plateau` whose `step(value)` gives the rate; it needs math."""
    rule = document.body
    return _RULE.format(
        rule=rule,
        peak_lr=document.peak_lr,
        patience=rule.patience + 1,
        worst="math.inf" if rule.mode == "min" else "-math.inf",
        better=_better(rule),
        lowest=document.peak_lr * rule.min_factor,
    )


def _better(rule: Plateau) -> str:
    sign = "<" if rule.mode == "min" else ">"
    change = "-" if rule.mode == "min" else "+"
    if rule.threshold_mode == "rel":
        return f"{sign} self.best * (1.0 {change} {rule.threshold!r})"
    return f"{sign} self.best {change} {rule.threshold!r}"
