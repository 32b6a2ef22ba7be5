"""pytorch-ignite: `FastaiLRFinder` attached to a trainer."""

import warnings

from ignite.engine import create_supervised_trainer
from ignite.handlers import FastaiLRFinder

from benchmarks.finder.serving import Sweep, Swept, criterion, serve


def find(sweep: Sweep) -> Swept:
    """As in its documentation: the optimizer is at the lowest rate, `end_lr` is the highest."""
    model, optimizer = sweep.model_and_optimizer()
    trainer = create_supervised_trainer(model, optimizer, criterion)
    finder = FastaiLRFinder()
    lengths = sweep.lengths
    with finder.attach(
        trainer,
        to_save={"model": model, "optimizer": optimizer},
        num_iter=lengths.points,
        end_lr=lengths.high,
    ) as trainer_with_finder:
        trainer_with_finder.run(sweep.loader())
    results = finder.get_results()
    lrs, losses = results["lr"], results["loss"]
    return Swept(lrs, losses, len(lrs), {"steepest": finder.lr_suggestion})


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Run completed without loss diverging")
    serve(find, ["steepest"])
