"""Lightning: `Tuner.lr_find` on a module with a learning rate."""

import logging
import tempfile
import warnings

import lightning
from lightning.pytorch.tuner import Tuner
from torch import Tensor, optim

from benchmarks.finder.serving import Sweep, Swept, criterion, serve


class Module(lightning.LightningModule):
    """The task's model and optimizer, the way Lightning wants them."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__()
        self.model, self.optimizer = sweep.model_and_optimizer()
        self.learning_rate = sweep.lengths.low

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The loss of a batch."""
        inputs, targets = batch
        return criterion(self.model(inputs), targets)

    def configure_optimizers(self) -> optim.Optimizer:
        """The task's own."""
        return self.optimizer


def find(sweep: Sweep) -> Swept:
    """`lr_find` between the two rates; everything that writes or draws is off."""
    lengths = sweep.lengths
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        finder = Tuner(trainer).lr_find(
            Module(sweep),
            train_dataloaders=sweep.loader(),
            min_lr=lengths.low,
            max_lr=lengths.high,
            num_training=lengths.points,
        )
    lrs, losses = finder.results["lr"], finder.results["loss"]
    return Swept(lrs, losses, len(lrs), {"steepest": finder.suggestion})


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")
    serve(find, ["steepest"])
