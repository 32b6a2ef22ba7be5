"""Schedules in real runs of Lightning's Trainer: by our integration, and by the exported module."""

from functools import partial

import pytest

from lrtuner.document import load
from lrtuner.errors import HorizonMismatchError, UnsupportedError
from lrtuner.export import EXPORTERS
from tests.conformance.replays.torch import load_module
from tests.conformance.samples import reactive

pytestmark = [
    pytest.mark.frameworks,
    # Lightning 2.6 with torch 2.13; the rest is advice
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]

BATCHES, ACCUMULATED = 10, 2
PER_EPOCH = BATCHES // ACCUMULATED

BY_STEP = load(
    {
        "total_steps": 23,
        "peak_lr": 0.1,
        "warmup": {"steps": 4},
        "body": {"family": "cosine", "decay_steps": 19, "end_factor": 0.01},
    }
)
BY_EPOCH = load(
    {
        "unit": "epoch",
        "total_steps": 5,
        "peak_lr": 0.1,
        "warmup": {"steps": 1.5},
        "body": {"family": "multistep", "milestones": [1, 2], "factors": [0.5, 0.1]},
    }
)
PLATEAU = reactive(patience=1, factor=0.5)


def of_the_integration(optimizer, schedule):
    from lrtuner.integrations.lightning import scheduler  # noqa: PLC0415 - imports torch

    return scheduler(optimizer, schedule)


def of_the_export(optimizer, schedule):
    text = EXPORTERS["lightning"].render(schedule)
    return load_module(text)["lr_scheduler_config"](optimizer)


both = pytest.mark.parametrize("config", [of_the_integration, of_the_export])


def module_class(torch, lightning):
    """A module of two weights that notes the rate of every update."""

    class Module(lightning.LightningModule):
        def __init__(self, config):
            super().__init__()
            self.config, self.rates = config, []
            self.first, self.second = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

        def configure_optimizers(self):
            groups = [
                {"params": self.first.parameters(), "lr": 0.7},
                {"params": self.second.parameters(), "lr": 0.35},
            ]
            optimizer = torch.optim.SGD(groups)
            return {"optimizer": optimizer, "lr_scheduler": self.config(optimizer, self)}

        def training_step(self, batch, _):
            return self.second(self.first(batch[0])).square().mean()

        def on_before_optimizer_step(self, optimizer):
            first, second = (group["lr"] for group in optimizer.param_groups)
            assert second == pytest.approx(first / 2, rel=1e-15)
            self.rates.append(first)

    return Module


def validated(module, values):
    """The class with a validation that logs the `values`, one after another."""

    class Validated(module):
        metric = iter(values)

        def validation_step(self, batch, _):
            self.log("val_loss", next(self.metric))

        def val_dataloader(self):
            return self.trainer.train_dataloader

    return Validated


@pytest.fixture
def fit(tmp_path):
    """Trains with what `config(optimizer, module)` gives, and tells the rates of all updates."""
    torch, lightning = pytest.importorskip("torch"), pytest.importorskip("lightning")

    def run(config, *, values=(), every=1000, resume_at=None, **limits):
        """There is a checkpoint after `every` so many updates; `resume_at` is one of them."""
        module = module_class(torch, lightning)
        module = (validated(module, values) if values else module)(config)
        saving = lightning.pytorch.callbacks.ModelCheckpoint(
            tmp_path, "{step}", every_n_train_steps=every, save_top_k=-1
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=1,
            callbacks=[saving],
            accumulate_grad_batches=ACCUMULATED,
            **limits,
        )
        data = torch.utils.data.TensorDataset(torch.ones(BATCHES, 1))
        saved = tmp_path / f"step={resume_at}.ckpt" if resume_at else None
        trainer.fit(module, torch.utils.data.DataLoader(data), ckpt_path=saved)
        return module.rates

    return run


@both
def test_every_update_has_the_rate_of_its_step(config, fit):
    rates = fit(lambda optimizer, _: config(optimizer, BY_STEP), max_steps=BY_STEP.total_steps)
    assert rates == pytest.approx(BY_STEP.values(), abs=1e-13)


@both
@pytest.mark.parametrize("saved_at", [3, 5, 12])  # 5 is the end of an epoch
def test_a_resumed_run_goes_on_with_the_same_rates(config, saved_at, fit):
    def run(**resume):
        limits = {"max_steps": BY_STEP.total_steps, "every": saved_at}
        return fit(lambda optimizer, _: config(optimizer, BY_STEP), **limits, **resume)

    rates = run()
    assert run(resume_at=saved_at) == rates[saved_at:]


@both
def test_a_schedule_in_epochs_changes_between_epochs_only(config, fit):
    def run(**resume):
        limits = {"max_epochs": BY_EPOCH.total_steps, "every": 8}
        return fit(lambda optimizer, _: config(optimizer, BY_EPOCH), **limits, **resume)

    rates = run()
    expected = [rate for rate in BY_EPOCH.values().tolist() for _ in range(PER_EPOCH)]
    assert rates == pytest.approx(expected, abs=1e-13)
    assert len(set(expected)) == 5
    assert run(resume_at=8) == rates[8:]


@both
def test_a_schedule_that_reacts_hears_of_the_metric_once_per_epoch(config, fit):
    values = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8]

    def plateau(optimizer, _):
        return config(optimizer, PLATEAU)

    rates = fit(plateau, values=values, max_epochs=len(values))
    factors = [1.0, *PLATEAU.body.factors(values)[:-1]]
    assert rates == pytest.approx([0.1 * f for f in factors for _ in range(PER_EPOCH)])
    assert len(set(factors)) == 3


def test_the_trainers_own_estimate_is_compared_with_the_horizon(fit):
    from lrtuner.integrations.lightning import scheduler  # noqa: PLC0415 - it imports torch

    def fitted(optimizer, module, **rescale):
        steps = int(module.trainer.estimated_stepping_batches)
        return scheduler(optimizer, BY_STEP, total_steps=steps, **rescale)

    with pytest.raises(HorizonMismatchError, match="23 steps, this training takes 20"):
        fit(fitted, max_epochs=4)
    rates = fit(partial(fitted, rescale=True), max_epochs=4)
    assert rates == BY_STEP.rescaled(20).values().tolist()


def test_what_goes_under_lr_scheduler():
    from lrtuner.integrations.lightning import scheduler  # noqa: PLC0415

    torch = pytest.importorskip("torch")

    def told(schedule, **horizon):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        config = scheduler(optimizer, schedule, **horizon)
        return {key: value for key, value in config.items() if key != "scheduler"}

    by_second = load({**BY_STEP.document, "unit": "second"})
    assert told(BY_STEP) == told(by_second) == {"interval": "step", "frequency": 1}
    assert told(BY_EPOCH) == {"interval": "epoch", "frequency": 1}
    metric = {"monitor": "val_loss", "strict": True}
    assert told(PLATEAU) == {"interval": "epoch", "frequency": 1, **metric}
    by_step = load({**PLATEAU.document, "unit": "step"})
    assert told(by_step) == {"interval": "step", "frequency": 1, **metric}
    with pytest.raises(UnsupportedError, match="no horizon"):
        told(PLATEAU, total_steps=5)
