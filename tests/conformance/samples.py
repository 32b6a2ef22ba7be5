"""Schedules that every conformance suite runs over: all families, all parameters, all curves."""

import random
from typing import Any

from lrtuner.document import ReactiveDocument, ScheduleDocument, load
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.curves import COOLDOWNS, WARMUPS
from lrtuner.schedules.grammar import Schedule

PER_FAMILY = 6
TOTALS = (1, 2, 7, 60, 380, 1001)


def _table(rng, total):
    return {"values": [rng.random() for _ in range(max(total - rng.randrange(3), 1))]}


# The parameters of each family, drawn at random over `total` steps; a family without one fails.
BODIES = {
    "constant": lambda rng, total: {},
    "polynomial": lambda rng, total: {
        "decay_steps": total * rng.uniform(0.5, 1.2),
        "power": rng.uniform(0.3, 4.0),
        "end_factor": rng.choice([0.0, 0.01, 0.3]),
    },
    "cosine": lambda rng, total: {
        "decay_steps": total * rng.uniform(0.5, 1.2),
        "end_factor": rng.choice([0.0, 0.01, 0.3]),
    },
    "cosine_restarts": lambda rng, total: {
        "first_steps": rng.choice([max(total // 5, 1), total * rng.uniform(0.05, 0.7)]),
        "t_mult": rng.choice([1, 2, 3, 1.37]),
        "m_mult": rng.choice([1.0, 0.7]),
        "end_factor": rng.choice([0.0, 0.01, 0.3]),
        "cycles": rng.choice([None, 1, 3]),
    },
    "exponential": lambda rng, total: {
        "decay_steps": total * rng.uniform(0.01, 1.0),
        "rate": rng.uniform(0.5, 1.0),
    },
    "step": lambda rng, total: {
        "every": rng.choice([max(total // 7, 1), total * rng.uniform(0.05, 0.7)]),
        "rate": rng.uniform(0.1, 1.0),
        "offset": rng.choice([0, 1]),
    },
    "multistep": lambda rng, total: {
        "milestones": sorted(total * rng.uniform(0.01, 1.1) for _ in range(rng.randrange(1, 5))),
        "factors": [rng.random() for _ in range(5)],
    },
    "inverse_time": lambda rng, total: {
        "decay_steps": total * rng.uniform(0.01, 1.0),
        "rate": rng.uniform(0.0, 5.0),
        "staircase": rng.random() < 0.5,
    },
    "inverse_power": lambda rng, total: {
        "timescale": total * rng.uniform(0.01, 1.0),
        "power": rng.uniform(0.1, 2.0),
    },
    "cyclic": lambda rng, total: {
        "up": rng.choice([max(total // 8, 1), total * rng.uniform(0.05, 0.7)]),
        "down": total * rng.uniform(0.05, 0.7),
        "base_factor": rng.choice([0.0, 0.1]),
        **rng.choice(
            [{"mode": "triangular"}, {"mode": "triangular2"}, {"mode": "exp_range", "gamma": 0.99}]
        ),
    },
    "table": _table,
}


def drawn(family: str, index: int) -> Schedule:
    """A schedule of `family`; the index decides the draw, the horizon, warmup and cooldown."""
    rng = random.Random(f"{family}/{index}")
    total = TOTALS[index % len(TOTALS)]
    body: dict[str, Any] = {"family": family, **BODIES[family](rng, total)}
    if family == "multistep":
        body["factors"] = body["factors"][: len(body["milestones"]) + rng.randrange(2)]
    warmup = {
        "steps": rng.uniform(0.5, 0.7 * total) if total > 1 else 0.5,
        "start_factor": rng.uniform(0.01, 0.9),
        "curve": rng.choice(list(WARMUPS)),
    }
    steps, curve = rng.uniform(0.5, total), rng.choice(list(COOLDOWNS))
    cooldown = {"start": total - steps, "steps": steps, "curve": curve}
    cooldown |= {"end_factor": rng.random() * 0.1} | ({"power": 2.5} if curve == "power" else {})
    return Schedule.model_validate(
        {
            "total_steps": total,
            "peak_lr": 10 ** rng.uniform(-5, 1),
            "warmup": warmup if rng.random() < 0.6 else None,
            "body": body,
            "cooldown": cooldown if rng.random() < 0.6 else None,
            "min_factor": rng.choice([0.0, 0.05]),
        }
    )


SAMPLES = {f"{family}-{i}": drawn(family, i) for family in FAMILIES for i in range(PER_FAMILY)}


def config(schedule: Schedule) -> ScheduleDocument:
    """The schedule as a downloadable config."""
    return ScheduleDocument(**{name: getattr(schedule, name) for name in Schedule.model_fields})


def reactive(**plateau: Any) -> ReactiveDocument:
    """A schedule that reacts to a metric."""
    body = {"family": "plateau", "mode": "min", "monitor": "val_loss", **plateau}
    document = load({"kind": "reactive", "peak_lr": 0.1, "body": body})
    assert isinstance(document, ReactiveDocument)
    return document
