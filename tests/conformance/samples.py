"""Schedules that every conformance suite runs over: all families, drawn from their own spaces."""

import random
from typing import Any, cast

from lrtuner.candidates import family_space, to_schedule
from lrtuner.document import ScheduleDocument
from lrtuner.schedules import FAMILIES
from lrtuner.schedules.curves import COOLDOWNS, WARMUPS
from lrtuner.schedules.grammar import Cooldown, Schedule, Warmup

PER_FAMILY = 6


def drawn(family: str, index: int) -> Schedule:
    """A schedule of `family`; the index decides the draw, the horizon, warmup and cooldown."""
    rng = random.Random(f"{family}/{index}")
    total_steps = (1, 2, 7, 60, 380, 1001)[index % 6]
    point: dict[str, Any] = {
        name: span.at(rng.random()) for name, span in family_space(family).items()
    }
    point |= {"family": family, "peak_lr": 10 ** rng.uniform(-5, 1), "warmup_fraction": 0.0}
    schedule = to_schedule(point, total_steps)
    warmup = Warmup(
        steps=rng.uniform(0.5, total_steps),
        start_factor=rng.random(),
        curve=cast(Any, rng.choice(list(WARMUPS))),
    )
    steps = rng.uniform(0.5, total_steps)
    cooldown = Cooldown(
        start=total_steps - steps,
        steps=steps,
        end_factor=rng.random() * 0.1,
        curve=cast(Any, rng.choice(list(COOLDOWNS))),
    )
    return schedule.model_copy(
        update={
            "warmup": warmup if rng.random() < 0.6 else None,
            "cooldown": cooldown if rng.random() < 0.6 else None,
            "min_factor": rng.choice([0.0, 0.05]),
        }
    )


SAMPLES = {f"{family}-{i}": drawn(family, i) for family in FAMILIES for i in range(PER_FAMILY)}


def config(schedule: Schedule) -> ScheduleDocument:
    """The schedule as a downloadable config."""
    return ScheduleDocument(**{name: getattr(schedule, name) for name in Schedule.model_fields})
