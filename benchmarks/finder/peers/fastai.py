"""fastai: `Learner.lr_find` with each of its four rules; `valley` is its default."""

import tempfile
import warnings
from collections.abc import Callable
from functools import partial

from fastai.basics import DataLoaders, Learner, OptimWrapper
from fastai.callback.schedule import minimum, slide, steep, valley
from torch import nonzero, tensor

from benchmarks.finder.serving import Sweep, Swept, criterion, serve

RULES = {rule.__name__: rule for rule in (valley, slide, minimum, steep)}


def find(sweep: Sweep) -> Swept:
    """`lr_find` between the two rates, over plain DataLoaders and the task's torch optimizer."""
    model, optimizer = sweep.model_and_optimizer()
    lengths = sweep.lengths
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(sweep.loader(), sweep.loader()),
            model,
            loss_func=criterion,
            opt_func=lambda *_args, **_options: OptimWrapper(opt=optimizer),
            path=folder,
        )
        with learner.no_bar():
            learner.lr_find(
                lengths.low, lengths.high, lengths.points, show_plot=False, suggest_funcs=None
            )
    recorded = learner.recorder
    lrs, losses = list(map(float, recorded.lrs)), list(map(float, recorded.losses))
    rules = {
        name: partial(_suggestion, rule, lrs, losses, lengths.points)
        for name, rule in RULES.items()
    }
    return Swept(lrs, losses, len(lrs), rules)


def _suggestion(
    rule: Callable[..., tuple[float, object]], lrs: list[float], losses: list[float], points: int
) -> float:
    """As `lr_find` calls it: without the first tenth and the last five, up to the first NaN.

    Each rule on its own: in `lr_find`, one that raises takes the others with it.
    """
    rates, seen = tensor(lrs[points // 10 : -5]), tensor(losses[points // 10 : -5])
    gone = nonzero(seen.isnan())
    if len(gone):
        rates, seen = rates[: gone[0]], seen[: gone[0]]
    return rule(rates, seen, points)[0]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serve(find, list(RULES))
