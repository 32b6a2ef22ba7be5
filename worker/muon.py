"""Muon for weight matrices and AdamW for all other weights, as one optimizer."""

from typing import Any

import torch

from lrtuner.errors import JobFailedError

Group = dict[str, Any]


class MuonWithAdamW(torch.optim.Optimizer):
    """torch's two optimizers over one list of param groups and one state.

    A group's `matrix` says which of the two trains it. Muon's steps have the size of AdamW's
    (`match_rms_adamw`), so that both follow one schedule.

    Raises:
        JobFailedError: this torch has no Muon.
    """

    def __init__(
        self,
        groups: list[Group],
        lr: float,
        *,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        weight_decay: float,
        betas: list[float],
        eps: float,
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise JobFailedError(f"muon needs torch 2.9 or newer; this is {torch.__version__}")
        self._parts: dict[bool, torch.optim.Optimizer] = {}
        matrices = [group for group in groups if group["matrix"]]
        others = [group for group in groups if not group["matrix"]]
        if matrices:
            self._parts[True] = torch.optim.Muon(
                matrices,
                lr=lr,
                weight_decay=weight_decay,
                momentum=momentum,
                nesterov=nesterov,
                ns_steps=ns_steps,
                adjust_lr_fn="match_rms_adamw",
            )
        if others:
            self._parts[False] = torch.optim.AdamW(
                others, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay
            )
        filled = [group for part in self._parts.values() for group in part.param_groups]
        super().__init__(filled, {"lr": lr})
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Let each of the two make its step; there is no closure."""
        assert closure is None  # noqa: S101
        for part in self._parts.values():
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Be as when `state_dict` was taken."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Give both the groups and the state that are here: loading replaces these."""
        for matrix, part in self._parts.items():
            part.param_groups = [g for g in self.param_groups if g["matrix"] is matrix]
            part.state = self.state
