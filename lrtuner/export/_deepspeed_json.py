"""The schedulers of DeepSpeed's own JSON (read in 0.19) that come near a schedule, and how near.

They count from -1: the first update runs before they begin, and every other at what their formula
says a step earlier.
"""

import json
from typing import Any

import numpy as np

from lrtuner.export._formula import EXACT_WITHIN, SAMPLES
from lrtuner.schedules._base import Array
from lrtuner.schedules.constant import Constant
from lrtuner.schedules.cosine import Cosine
from lrtuner.schedules.grammar import Schedule
from lrtuner.schedules.polynomial import Polynomial

Config = dict[str, Any]

_SOURCE = """\
# If ds_config must bring the scheduler instead, this of DeepSpeed's own is the nearest.
# {fidelity}
# {groups}
DS_CONFIG_SCHEDULER = {{
    "type": "{type}",
    "params": {{
{params}
    }},
}}
"""

_SAME = "It gives every param group the same rate."
_RATIOS = "It multiplies the rates that the optimizer has: give the optimizer PEAK_LR."


def source(schedule: Schedule) -> str | None:
    """The definition of `DS_CONFIG_SCHEDULER`, if there is one, with its fidelity as a comment."""
    config = nearest(schedule)
    if config is None:
        return None
    end, peak = schedule.total_steps + 2, schedule.peak_lr
    t = np.unique(np.linspace(0.0, end, min(end + 1, SAMPLES)).round())
    given = rates(config, t, peak)
    late = np.abs(given - schedule(np.maximum(t - 1, 0))) / peak
    params = config["params"].items()
    return _SOURCE.format(
        fidelity=_fidelity(t, np.abs(given - schedule(t)) / peak, late),
        groups=_RATIOS if config["type"] == "WarmupCosineLR" else _SAME,
        type=config["type"],
        params="\n".join(f'        "{name}": {json.dumps(value)},' for name, value in params),
    )


def nearest(schedule: Schedule) -> Config | None:
    """The "scheduler" of a ds_config that comes nearest; None where none is of its kind."""
    warmup, body, peak = schedule.warmup, schedule.body, schedule.peak_lr
    bent = schedule.cooldown or body.offset or (warmup and warmup.curve != "linear")
    if schedule.unit != "step" or bent:
        return None
    start, length = (warmup.start_factor, warmup.steps) if warmup else (1.0, 0.0)
    warm = {"warmup_num_steps": max(2, round(length)), "warmup_type": "linear"}  # it takes 1 for 2
    floor = schedule.min_factor
    match body:
        case Constant():
            return _config("WarmupLR", warmup_min_lr=start * peak, warmup_max_lr=peak, **warm)
        case Polynomial(power=1.0, end_factor=end, decay_steps=steps) if end >= floor:
            # the rate that the warmup starts from is also the one that the decay ends at
            total, low = round(length + steps), end * peak
            lengths = {"total_num_steps": total, **warm}
            return _config("WarmupDecayLR", warmup_min_lr=low, warmup_max_lr=peak, **lengths)
        case Cosine(end_factor=end, decay_steps=steps) if end >= floor:
            lengths = {"total_num_steps": round(length + steps), **warm}
            return _config("WarmupCosineLR", warmup_min_ratio=start, cos_min_ratio=end, **lengths)
    return None


def rates(config: Config, t: Array, peak_lr: float) -> Array:
    """The rates that DeepSpeed gives updates `t`, counted from 0; the optimizer's is `peak_lr`."""
    params = config["params"]
    k, warm = t - 1.0, float(params["warmup_num_steps"])
    rise: Array = np.minimum(np.maximum(k, 0.0) / warm, 1.0)
    if config["type"] == "WarmupCosineLR":
        start, end = params["warmup_min_ratio"], params["cos_min_ratio"]
        u = np.minimum((k - warm + 1.0) / max(1, params["total_num_steps"] - warm), 1.0)
        fallen = end + (1.0 - end) * (1.0 + np.cos(np.pi * u)) / 2.0
        v = np.where(k < warm, start + (1.0 - start) * rise, fallen)
        return peak_lr * np.where(k < 0.0, 0.0, v)
    if config["type"] == "WarmupDecayLR":
        total = params["total_num_steps"]
        rise = np.where(k < warm, rise, np.maximum(total - k, 0.0) / max(1, total - warm))
    low, high = float(params["warmup_min_lr"]), float(params["warmup_max_lr"])
    return low + (high - low) * rise


def _config(kind: str, **params: Any) -> Config:
    return {"type": kind, "params": params}


def _fidelity(t: Array, errors: Array, late: Array) -> str:
    worst = np.argmax(errors)
    if errors[worst] <= EXACT_WITHIN:
        return "Exact: the rates are the same."
    kind = "Shifted by one step" if np.max(late) <= EXACT_WITHIN else "Approximate"
    return f"{kind}: off by up to {errors[worst]:.2g} of PEAK_LR, most at update {t[worst]:.0f}."
