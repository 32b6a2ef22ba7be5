"""The jobs: real trainings of some hundred milliseconds each, several to a job."""

from typing import Any

_WINE = {"dataset": {"name": "wine"}, "training": {"batch_size": 16, "steps": 300}}
_DIGITS = {"dataset": {"name": "digits"}, "training": {"batch_size": 64, "steps": 150}}
_SGD = {"optimizer": {"name": "sgd", "args": {"momentum": 0.9}}}
_ADAMW = {"optimizer": {"name": "adamw"}}

_COMMON: dict[str, Any] = {
    "model": {"name": "mlp", "args": {"hidden": [32]}},
    "search": {
        "families": ["polynomial", "cosine", "constant"],
        "budget": {"full_runs": 6},
        "confirm_pairs": 1,
    },
    "range_test": {"num_steps": 50, "num_seeds": 1, "probes": []},
}

#: By name; each job carries its own, so that it can be compared with the undisturbed one.
JOBS: dict[str, dict[str, Any]] = {
    name: {**_COMMON, **parts, "name": name}
    for name, parts in {
        "wine, sgd": _WINE | _SGD,
        "wine, adamw": _WINE | _ADAMW | {"seed": 1},
        "digits, sgd": _DIGITS | _SGD | {"seed": 2},
        "digits, adamw": _DIGITS | _ADAMW | {"seed": 3},
    }.items()
}
