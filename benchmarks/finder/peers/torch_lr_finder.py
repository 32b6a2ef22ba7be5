"""torch-lr-finder: `LRFinder.range_test`, and the suggestion of its plot."""

import matplotlib as mpl
import torch_lr_finder
from matplotlib import pyplot

from benchmarks.finder.serving import Sweep, Swept, criterion, serve


def find(sweep: Sweep) -> Swept:
    """As in its README: the optimizer is at the lowest rate, `end_lr` is the highest."""
    model, optimizer = sweep.model_and_optimizer()
    finder = torch_lr_finder.LRFinder(model, optimizer, criterion)
    lengths = sweep.lengths
    finder.range_test(sweep.loader(), end_lr=lengths.high, num_iter=lengths.points)
    lrs, losses = finder.history["lr"], finder.history["loss"]
    finder.reset()
    return Swept(lrs, losses, len(lrs), {"steepest": lambda: _suggestion(finder)})


def _suggestion(finder: torch_lr_finder.LRFinder) -> float:
    # without axes of its own, plot() also shows the figure
    figure, axes = pyplot.subplots()
    _, lr = finder.plot(ax=axes)
    pyplot.close(figure)
    return float(lr)


if __name__ == "__main__":
    mpl.use("Agg")
    serve(find, ["steepest"])
