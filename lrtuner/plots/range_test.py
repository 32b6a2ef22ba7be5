"""The range test as a picture: the losses read, what the analysis made of them, what follows."""

import math
from collections.abc import Iterable

import numpy as np

from lrtuner.plots._axis import Axis
from lrtuner.plots._chart import Area, Band, Chart, Interval, Line, Mark, Points, Vertical
from lrtuner.range_test import VOTES, Analysis, Probe, RangeTestResult, Sweep

_HEADROOM = 1.5
"""Losses above so many times the first are cut off: they only say that training has blown up."""

_PROBED = 3
"""The style of the first kind of probes: those before it are the seeds' of the sweeps."""


def range_test_svg(result: RangeTestResult) -> str:
    """Raw points and smoothed curves per seed, each with a band of two standard errors.

    Over log rate; the losses are those that were analysed, held-out or training. With where they
    diverge, the classical rules' votes, the held-out losses of the probes, the bounds for the
    search, and the peak for each kind of schedule with its interval.
    """
    rates = [rate for sweep in result.sweeps for rate in sweep.lrs]
    losses = [loss for sweep in result.sweeps for loss in sweep.analysed if loss is not None]
    held_out = any(sweep.held_out is not None for sweep in result.sweeps)
    y_label = "held-out loss" if held_out else "training loss"
    if not losses:
        return Chart(
            "LR range test",
            x=Axis("learning rate", 1e-6, 10.0, log=True),
            y=Axis(y_label, 0.0, 1.0),
            marks=[],
            subtitle=result.message,
        ).svg()
    x = Axis("learning rate", min(rates), max(rates), log=True)
    firsts = [sweep.analysed[0] for sweep in result.sweeps if sweep.analysed[0] is not None]
    top = _HEADROOM * max(firsts, default=max(losses))
    marks: list[Mark] = [*_suggested(result, x), *_read_off(result.analyses)]
    marks += _noise(result.sweeps, result.analyses)
    for style, (sweep, analysis) in enumerate(zip(result.sweeps, result.analyses, strict=True)):
        marks += _seed(sweep, analysis, style)
    marks += _probes(result.probes)
    return Chart(
        "LR range test",
        x=x,
        y=Axis(y_label, 0.0, top),
        marks=marks,
        subtitle=result.message,
        description=f"Status {result.status}.",
    ).svg()


def _seed(sweep: Sweep, analysis: Analysis, style: int) -> list[Mark]:
    pairs = zip(sweep.lrs, sweep.analysed, strict=True)
    raw = [(lr, loss) for lr, loss in pairs if loss is not None]
    rates, losses = [lr for lr, _ in raw], [loss for _, loss in raw]
    marks: list[Mark] = [Points(rates, losses, style=style)]
    if analysis.smoothed:
        label = f"seed {style + 1}, noise {analysis.noise or 0.0:.2g}"
        marks.append(Line(sweep.lrs[: len(analysis.smoothed)], analysis.smoothed, label, style))
    return marks


def _probes(probes: list[Probe]) -> list[Mark]:
    """The held-out loss at the end of each probe, over its peak."""
    marks: list[Mark] = []
    for style, kind in enumerate(dict.fromkeys(probe.kind for probe in probes), start=_PROBED):
        own = [(p.lr, p.loss, p.steps) for p in probes if p.kind == kind and p.loss is not None]
        rates, losses, steps = zip(*sorted(own), strict=True) if own else ((), (), (0,))
        label = f"probes, {kind.replace('_', ' ')}: held-out loss after {steps[0]} updates"
        marks += [Line(rates, losses, label, style), Points(rates, losses, style=style)]
    return marks


def _noise(sweeps: list[Sweep], analyses: list[Analysis]) -> list[Mark]:
    marks: list[Mark] = []
    for style, (sweep, analysis) in enumerate(zip(sweeps, analyses, strict=True)):
        if analysis.standard_errors:
            smoothed, around = np.array(analysis.smoothed), 2 * np.array(analysis.standard_errors)
            rates, label = sweep.lrs[: len(smoothed)], "" if marks else "smoothed ± 2 noise"
            marks.append(Area(rates, smoothed - around, smoothed + around, label, style))
    return marks


def _read_off(analyses: list[Analysis]) -> list[Mark]:
    """The means over seeds of the divergence point and of each vote."""
    found = {"diverged": _mean(a.lr_diverged for a in analyses)}
    found |= {name: _mean(a.votes.get(name) for a in analyses) for name in VOTES}
    return [Vertical(x, name.replace("_", " ")) for name, x in found.items() if x is not None]


def _mean(rates: Iterable[float | None]) -> float | None:
    logs = [math.log(rate) for rate in rates if rate is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _suggested(result: RangeTestResult, x: Axis) -> list[Mark]:
    suggestion = result.suggestion
    low, high = max(suggestion.low, x.low), min(suggestion.high, x.high)
    marks: list[Mark] = [Band(low, high, "searched")] if low < high else []
    for kind, peak in suggestion.peaks.items():
        begin = peak.low if peak.base is None else peak.base
        if begin is not None and peak.high is not None:
            label = f"{kind.replace('_', ' ')}, probed" if peak.probed else kind.replace("_", " ")
            marks.append(Interval(begin, peak.high, label, at=peak.lr))
    return marks
