"""What training costs, in full-training equivalents (FTE): 1 is one run over the whole horizon."""

FORWARD_SHARE = 1.0 / 3.0
"""A forward pass beside a whole update: a backward pass costs about two forwards."""


def run_cost(updates: int, evaluated: int, batch_size: int, total_steps: int) -> float:
    """The cost in FTE of `updates` optimizer updates and `evaluated` examples seen forward only."""
    return (updates + FORWARD_SHARE * evaluated / batch_size) / total_steps


def spread_over(total_steps: int, points: int) -> list[int]:
    """After how many updates to evaluate: at most `points` of 1..total_steps, the last included."""
    count = min(points, total_steps)
    return sorted({round(total_steps * (i + 1) / count) for i in range(count)})
