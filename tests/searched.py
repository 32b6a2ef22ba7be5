"""A job's evidence without training: runs of every purpose, with values that are known."""

from lrtuner.document import Provenance, SpentBudget, Verdict
from lrtuner.evidence import Environment, Failure, LossCurve, TrialRecord
from lrtuner.job import JobSpec
from lrtuner.range_test import (
    Probe,
    RangeTestResult,
    Sweep,
    analyse,
    plateaus,
    suggest,
    summary,
    sweep_rates,
)
from lrtuner.recommendation import recommend
from lrtuner.schedules.grammar import Schedule
from service.openapi import SMALLEST_JOB

T = 80
SEED = 11
FRESH = (101, 102, 103, 104, 105)

COSINE = {"family": "cosine", "decay_steps": "1.0dur", "end_factor": 0.0}
LINEAR = {"family": "polynomial", "decay_steps": "1.0dur", "power": 1.0, "end_factor": 0.0}
STEP = {"family": "step", "every": "0.5dur", "rate": 0.1}
BODIES = {"cosine": COSINE, "linear": LINEAR, "step": STEP, "constant": {"family": "constant"}}


def schedule(body="cosine", steps=T, peak=0.1):
    return Schedule.model_validate({"total_steps": steps, "peak_lr": peak, "body": BODIES[body]})


def trial(number, purpose="screen", body="cosine", value=0.5, **fields):
    """A run with that value; without one it has diverged, unless another state is given."""
    steps, peak = fields.pop("steps", T), fields.pop("peak", 0.1)
    done = value is not None
    curve = [2.0, 1.0, value] if done else [2.0, 8.0, None]
    cost = steps / T
    confirming = purpose in ("recommended", "reference", "comparison")
    told = {
        "number": number,
        "phase": "confirm" if confirming else "search",
        "purpose": purpose,
        "origin": "reference" if body == "linear" else "bound",
        "shape": body,
        "arm": f"{body}-{peak:g}-{steps}",
        "schedule": schedule(body, steps, peak),
        "seed": SEED,
        "state": "complete" if done else "diverged",
        "value": value,
        "metrics": {"val_loss": value, "test_loss": value + 0.1} if done else {},
        "curve": LossCurve(
            steps=[steps // 4, steps // 2, steps], train_loss=[2.0, 1.0, 0.1], val_loss=curve
        ),
        "updates": steps,
        "cost": cost,
        "alone": cost,
        "error": None if done else Failure(code="diverged", message="loss not finite"),
    }
    return TrialRecord.model_validate(told | fields)


def trials():
    """A whole search: peaks, screen, rung, finals, five pairs, and two comparisons."""
    quarter, half = T // 4, T // 2
    runs = [
        trial(0, "peak", "linear", 0.90, steps=quarter, peak=0.05),
        trial(1, "peak", "linear", 0.80, steps=quarter, peak=0.1),
        trial(2, "screen", "cosine", 0.75, steps=quarter, cost=0.125),  # half of it was shared
        trial(3, "screen", "step", 0.85, steps=quarter),
        trial(4, "screen", "constant", None, steps=quarter, cost=0.0625),
        trial(5, "rung", "cosine", 0.60, steps=half),
        trial(6, "rung", "linear", 0.62, steps=half),
        trial(7, "rung", "step", 0.66, steps=half),
        trial(8, "final", "cosine", 0.50),
        trial(9, "final", "linear", 0.53),
        trial(10, "final", "constant", None, state="failed", curve=None),
    ]
    for i, seed in enumerate(FRESH):
        base = 0.50 + 0.02 * i
        ours = trial(len(runs), "recommended", "cosine", base, seed=seed)
        theirs = trial(len(runs) + 1, "reference", "linear", base + 0.03 + 0.001 * i, seed=seed)
        runs += [ours, theirs]
    for name, value in (("schedule_free", 0.56), ("prodigy", 0.58)):
        ran = {"seed": FRESH[0], "arm": name, "shape": name}
        runs.append(trial(len(runs), "comparison", "constant", value, **ran))
    return runs


VERDICT = Verdict(
    status="confirmed",
    metric="val_loss",
    baseline=schedule("linear").document,
    difference=-0.032,
    ci95=[-0.03396, -0.03004],
    p_value=0.03125,
    pairs=5,
    recommended_mean=0.54,
    baseline_mean=0.572,
    reason="Better than the baseline on 5 pairs of fresh seeds.",
)


def range_test():
    """Two sweeps over a valley, and three probes."""
    rates = sweep_rates(1e-5, 10.0, 60)
    losses = [2.0 - min(lr, 0.3) * 3 if lr < 1.0 else 2.0 + 4 * lr for lr in rates]
    sweeps = [Sweep(seed=i, lrs=rates, losses=losses, updates=60) for i in range(2)]
    analyses = [analyse(sweep) for sweep in sweeps]
    probes = [
        Probe(kind="decaying", lr=lr, steps=40, seed=0, loss=loss, cost=0.5)
        for lr, loss in ((0.03, 0.9), (0.1, 0.6), (0.3, None))
    ]
    status, message = summary(analyses, probes)
    return RangeTestResult(
        status=status,
        message=message,
        sweeps=sweeps,
        analyses=analyses,
        probes=probes,
        suggestion=suggest(analyses, (1e-2, 1e-1), probed=plateaus(probes, T)),
        cost=3.0,
    )


def spec(**changes):
    return JobSpec.model_validate(SMALLEST_JOB | changes)


def recommendation(verdict=VERDICT, body="cosine"):
    return recommend(
        schedule(body),
        optimizer=None,
        context=None,
        verdict=verdict,
        provenance=Provenance(
            job_id="job_1",
            tool_version="0.1.0",
            created_at="2031-07-09T12:34:56Z",
            content_hash="",
            seed=0,
            budget=SpentBudget(full_runs=30.0, spent=20.0),
        ),
        public_url="http://127.0.0.1:8470",
    )


SEARCH = {
    "drift": {"alpha": 0.17, "source": "the usual 0.4 +- 0.2", "measured": 0.1},
    "sensitivity": [{"factor": 0.5, "change": 0.0412}, {"factor": 2.0, "change": None}],
    "warnings": [{"code": "peak_at_edge", "message": "The best peak lies at the high end."}],
    "plan": {"pairs": 5},
}
CONFIRM = {"verdict": VERDICT.model_dump(mode="json"), "warnings": []}

ENVIRONMENT = Environment(
    python="3.11.7",
    torch="2.13.0",
    optuna="5.0.0",
    lrtuner="0.1.0",
    platform="Linux",
    device="cpu (x86_64)",
    threads=1,
    dataset_digest="sha256:" + "a" * 64,
    walls=["seccomp", "landlock"],
    dataset_bytes=4096,
    libraries={"timm": "1.0.9"},
).model_dump()
