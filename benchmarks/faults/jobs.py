"""The jobs: real trainings of some hundred milliseconds each, several to a job."""

from typing import Any

_SGD = {"optimizer": {"name": "sgd", "args": {"momentum": 0.9}}}
_ADAMW = {"optimizer": {"name": "adamw"}}

# Text and a transformer: a process that begins with them has the least to import.
_COMMON: dict[str, Any] = {
    "model": {"name": "gpt", "args": {"width": 8, "num_layers": 1, "num_heads": 1}},
    "dataset": {"name": "python_stdlib_text", "args": {"max_chars": 10000, "context_length": 8}},
    "search": {
        "families": ["polynomial", "cosine", "constant"],
        "budget": {"full_runs": 6},
        "confirm_pairs": 1,
    },
    "range_test": {"num_steps": 50, "num_seeds": 1, "probes": []},
}


def _training(batch_size: int, steps: int) -> dict[str, Any]:
    return {"training": {"batch_size": batch_size, "steps": steps}}


#: By name; each job carries its own, so that it can be compared with the undisturbed one.
JOBS: dict[str, dict[str, Any]] = {
    name: {**_COMMON, **parts, "name": name}
    for name, parts in {
        "short, sgd": _SGD | _training(64, 80),
        "short, adamw": _ADAMW | _training(64, 80) | {"seed": 1},
        "long, sgd": _SGD | _training(16, 200) | {"seed": 2},
        "long, adamw": _ADAMW | _training(16, 200) | {"seed": 3},
    }.items()
}
