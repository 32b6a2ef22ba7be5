"""The plug-in points of frameworks that are not installed here, as much of them as an export meets.

Written after timm 1.0.31, fastai 2.8.12, DeepSpeed 0.19.8 and Composer 0.32.1; the exported modules
give the same rates in those.
"""

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace


@contextmanager
def installed(name, **contents):
    """A module of that name, and its parents, for whoever imports it meanwhile."""
    parts = name.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    made = {name: ModuleType(name) for name in names}
    vars(made[name]).update(contents)
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(hidden)


class TimmScheduler:
    """`timm.scheduler.scheduler.Scheduler`: base values from `initial_lr`, a call per unit."""

    def __init__(self, optimizer, param_group_field, t_in_epochs=True):
        self.optimizer = optimizer
        self.field = param_group_field
        self.t_in_epochs = t_in_epochs
        for group in optimizer.param_groups:
            group.setdefault(f"initial_{self.field}", group[self.field])
        self.base_values = [group[f"initial_{self.field}"] for group in optimizer.param_groups]
        self.update_groups(self.base_values)

    def step(self, epoch, metric=None):
        if self.t_in_epochs:
            self.update_groups(self._get_lr(epoch))

    def step_update(self, num_updates, metric=None):
        if not self.t_in_epochs:
            self.update_groups(self._get_lr(num_updates))

    def update_groups(self, values):
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            group[self.field] = value * group.get("lr_scale", 1.0)


class FastaiCallback:
    """`fastai.callback.core.Callback`: what it has not, the learner has."""

    order, run_valid, learn = 0, True, None

    def __getattr__(self, name):
        if name.startswith("__") or self.learn is None:
            raise AttributeError(name)
        return getattr(self.learn, name)


class FastaiParamScheduler(FastaiCallback):
    """`fastai.callback.schedule.ParamScheduler`: sets every hyper-parameter before each batch."""

    order, run_valid = 60, False

    def __init__(self, scheds):
        self.scheds = scheds

    def before_fit(self):
        self.hps = {name: [] for name in self.scheds}

    def before_batch(self):
        for name, f in self.scheds.items():
            self.opt.set_hyper(name, f(self.pct_train))


class FastaiTrackerCallback(FastaiCallback):
    """`fastai.callback.tracker.TrackerCallback`: finds the metric among the recorder's."""

    order = 60

    def __init__(self, monitor="valid_loss", comp=None, min_delta=0.0, reset_on_fit=True):
        self.monitor = monitor

    def before_fit(self):
        names = self.recorder.metric_names[1:]
        assert self.monitor in names
        self.idx = names.index(self.monitor)


class FastaiOptimizer:
    """`fastai.optimizer.Optimizer`: hyper-parameters, a value for each group."""

    def __init__(self, groups):
        self.hypers = [{"lr": None} for _ in range(groups)]

    def set_hyper(self, name, values):
        assert len(values) == len(self.hypers)
        for hyper, value in zip(self.hypers, values, strict=True):
            hyper[name] = value


class FastaiBatches:
    """A data loader that says how many batches it has, and may have `more`."""

    def __init__(self, batches, more=0):
        self.batches, self.more = batches, more

    def __len__(self):
        return self.batches


class FastaiLearner:
    """`fastai.learner.Learner.fit` with one callback; it calls `seen` for every batch.

    `losses` are the validation losses, one an epoch; `batch_losses` those of the batches, which are
    all optimizer steps. fastai sums up `pct_train` as here.
    """

    def __init__(self, batches, groups=2, losses=(), batch_losses=(), seen=lambda rates: None):
        self.dls = SimpleNamespace(train=batches)
        self.opt = FastaiOptimizer(groups)
        self.recorder = SimpleNamespace(
            metric_names=["epoch", "train_loss", "valid_loss", "time"], values=[]
        )
        self.losses, self.batch_losses, self.seen = list(losses), iter(batch_losses), seen

    def fit(self, n_epoch, lr, cbs):
        self.n_epoch = n_epoch
        self.opt.set_hyper("lr", lr)
        cbs.learn = self
        self._tell(cbs, "before_fit")
        for epoch in range(n_epoch):
            self._train(cbs, epoch / n_epoch, last=epoch == n_epoch - 1)
            loss = self.losses[epoch] if self.losses else 1.0
            self.recorder.values.append([0.0, loss])
            self._tell(cbs, "after_epoch")

    def _train(self, cbs, pct_train, *, last):
        self.pct_train = pct_train
        n_iter = len(self.dls.train)
        for _ in range(n_iter + (self.dls.train.more if last else 0)):
            self._tell(cbs, "before_batch")
            self.seen([hyper["lr"] for hyper in self.opt.hypers])
            self.loss = next(self.batch_losses, None)
            self._tell(cbs, "after_step")
            self.pct_train += 1.0 / (n_iter * self.n_epoch)
            self._tell(cbs, "after_batch")

    def _tell(self, cbs, event):
        if hasattr(type(cbs), event):
            getattr(cbs, event)()


class DeepSpeedEngine:
    """`deepspeed.initialize(...)[0]`: makes the scheduler, steps it where an update is due."""

    def __init__(self, optimizer, lr_scheduler, gradient_accumulation_steps=1):
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler(optimizer)
        self.accumulated, self.needed = 0, gradient_accumulation_steps

    def step(self):
        self.accumulated += 1
        if self.accumulated % self.needed == 0:
            self.optimizer.step()
            self.lr_scheduler.step()


class ComposerTrainer:
    """`composer.Trainer.fit`: steps schedulers of torch after every batch or every epoch."""

    def __init__(self, optimizers, schedulers, step_schedulers_every_batch):
        self.optimizer, self.scheduler = optimizers, schedulers
        self.every_batch = step_schedulers_every_batch

    def fit(self, epochs, batches, seen):
        for _ in range(epochs):
            for _ in range(batches):
                seen([group["lr"] for group in self.optimizer.param_groups])
                self.optimizer.step()
                if self.every_batch:
                    self.scheduler.step()
            if not self.every_batch:
                self.scheduler.step()
