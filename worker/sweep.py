"""One pass of the LR range test: an exact geometric sweep that leaves nothing behind."""

import copy
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from lrtuner.range_test import Sweep
from worker.training import finite_or_none

CHECK_EVERY = 10
"""Updates between two looks at the losses: each look waits for the device."""

STOP_FACTOR = 4.0
"""The sweep stops when the lightly averaged loss is so many times its best."""

_AVERAGED = 3

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def sweep(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss_of: Loss,
    rates: Sequence[float],
    *,
    seed: int,
) -> Sweep:
    """One update per rate of `rates`, in order; then everything is as it was before.

    The rate is written before its update and read back from the optimizer for the record. The
    loss recorded for a rate is that of the forward pass its update was made from. Ends early at
    a non-finite loss or at four times the best. Parameters, buffers, optimizer state, training
    modes and all random generators are restored on every way out, an exception included.
    """
    used: list[float] = []
    pending: list[Tensor] = []
    losses: list[float] = []
    with restored(model, optimizer):
        model.train()
        for rate, (inputs, targets) in zip(rates, batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model, inputs, targets)
            loss.backward()
            optimizer.step()
            used.append(optimizer.param_groups[0]["lr"])
            pending.append(loss.detach())
            if len(pending) == CHECK_EVERY or len(used) == len(rates):
                losses += torch.stack(pending).tolist()
                pending.clear()
                if _has_blown_up(losses):
                    break
        if pending:
            losses += torch.stack(pending).tolist()
    unused = len(rates) - len(losses)
    return Sweep(
        seed=seed,
        lrs=used + list(rates[len(used) :]),
        losses=[finite_or_none(loss) for loss in losses] + [None] * unused,
        updates=len(used),
    )


@contextmanager
def restored(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put model, optimizer, modes, gradients and random generators back at the end."""
    weights = copy.deepcopy(model.state_dict())
    optimized = copy.deepcopy(optimizer.state_dict())
    modes = {name: module.training for name, module in model.named_modules()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    generators = _generator_states()
    try:
        yield
    finally:
        model.load_state_dict(weights)
        optimizer.load_state_dict(optimized)
        for name, module in model.named_modules():
            module.training = modes[name]
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        _set_generator_states(generators)


def _has_blown_up(losses: list[float]) -> bool:
    if not all(map(math.isfinite, losses[-CHECK_EVERY:])):
        return True
    averages = np.convolve(losses, np.ones(_AVERAGED) / _AVERAGED, mode="valid")
    return len(averages) > 0 and bool(averages[-1] > STOP_FACTOR * averages.min())


_States = tuple[object, dict[str, object], Tensor, list[Tensor]]


def _generator_states() -> _States:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state(), cuda


def _set_generator_states(states: _States) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)  # type: ignore[arg-type]
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
