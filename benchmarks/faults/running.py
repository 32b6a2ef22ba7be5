"""One whole run: undisturbed, disturbed, and what came of it."""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.faults import findings
from benchmarks.faults.injecting import SECONDS_TO_VANISH, Injector, Submitter
from benchmarks.faults.jobs import JOBS
from benchmarks.faults.nodes import cluster
from benchmarks.faults.processes import Fleet, waited
from lrtuner.store import open_database
from lrtuner.store.engine import Database

_SECONDS_OF_SILENCE = 180.0
"""So long may nothing happen before a job that is not finished counts as lost."""

_SECONDS_TO_ACT = 120.0
_MOST_TRIES = 5

#: What must have acted, and the fault that makes it: a guard that never did was not tested.
GUARDS = {
    "lease refusals": "stop worker",
    "rescued": "kill worker",
    "released": "end worker",
    "process restarted": "kill training",
    "submits cut off": "kill API",
}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is asked for; `lease` in seconds, and `pause`, the most between faults.

    Without a pause each worker is hit about twice while it would do an undisturbed job.
    """

    kills: int
    runner: str = "local"
    workers: int = 3
    seed: int = 0
    lease: float = 2.0
    pause: float | None = None
    jobs: tuple[str, ...] = tuple(JOBS)


@dataclass
class Outcome:
    """What came of it. Every list but the last of the class must be empty."""

    lost: list[str]
    published_twice: list[str]
    stale_writes: list[str]
    orphans: list[int]
    different: list[str]
    bad_ends: list[int]
    guards: dict[str, int]
    faults: dict[str, int]
    jobs: int
    attempts: int
    seconds: float
    recovery: list[float] = field(default_factory=list)  # in leases

    @property
    def faultless(self) -> bool:
        """Whether nothing was lost, doubled, stale, left behind or different."""
        return not (
            self.lost
            or self.published_twice
            or self.stale_writes
            or self.orphans
            or self.different
            or self.bad_ends
        )

    @property
    def untested(self) -> list[str]:
        """The guards that never had to act."""
        return [name for name, count in self.guards.items() if not count]

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self) | {"recovery_p50": self.at(0.5), "recovery_p95": self.at(0.95)}

    def at(self, share: float) -> float | None:
        """The recovery time, in leases, that so large a share stays within."""
        ordered = sorted(self.recovery)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def run(plan: Plan, url: str, folder: Path, tell: Tell) -> Outcome:
    """Run the jobs on a migrated database; processes log into the folder."""
    began = time.monotonic()
    database = open_database(url)
    fleet = Fleet(folder, url, plan.lease)
    opened, nodes = ExitStack(), None
    try:
        if plan.runner == "ray":
            nodes = opened.enter_context(cluster(folder, fleet.mark))
            fleet.train_on(nodes.address)
        for number in range(plan.workers):
            fleet.start_worker(num_slots=2 if number == 0 else 1)
        fleet.wait_for_api()
        submitter = Submitter(fleet, plan.jobs)
        for _ in plan.jobs:
            submitter.submit()
        _wait_for_all(database, lambda: None)
        undisturbed = findings.read(database)
        pause = plan.pause or _pause(undisturbed, plan.workers)
        tell(f"undisturbed: {len(undisturbed)} jobs, {time.monotonic() - began:.0f} s")
        injector = Injector(fleet, database, submitter, plan.lease, plan.seed, nodes)
        _disturb(plan, injector, pause, tell)
        _spare_no_guard(injector, tell)
        _wait_for_all(database, injector.attend)
        injector.wake_all()
        left = {pid for pid, _ in injector.orphans()}
    finally:
        bad_ends = fleet.end()
        left_on_nodes = waited(nodes.training, SECONDS_TO_VANISH) if nodes else set()
        opened.close()
        left_at_the_end = fleet.orphans(SECONDS_TO_VANISH)
    kept = findings.read(database)
    database.close()
    return Outcome(
        lost=_lost(kept, submitter),
        published_twice=[job.id for job in kept if job.publications() > 1],
        stale_writes=[text for job in kept for text in job.stale_writes()],
        orphans=sorted(left | left_on_nodes | left_at_the_end),
        different=_different(kept, undisturbed),
        bad_ends=bad_ends + injector.bad_ends,
        guards=_guards(kept, fleet, submitter),
        faults=dict(injector.done),
        jobs=len(kept),
        attempts=sum(job.attempt for job in kept),
        seconds=time.monotonic() - began,
        recovery=_recovery(kept, injector, plan.lease),
    )


def _disturb(plan: Plan, injector: Injector, pause: float, tell: Tell) -> None:
    for number in range(1, plan.kills + 1):
        injector.keep_busy()
        until = time.monotonic() + injector.random.uniform(0.0, pause)
        while time.monotonic() < until:
            injector.attend()
            time.sleep(0.05)
        tell(f"{number} of {plan.kills}: {injector.inject()}")


def _spare_no_guard(injector: Injector, tell: Tell) -> None:
    """Chance may have spared one: the fault that it is there for, until it has acted."""
    for guard, kind in GUARDS.items():
        for _ in range(_MOST_TRIES):
            if _has_acted(guard, injector):
                break
            injector.keep_busy()
            injector.inject_one(kind)
            tell(f"for {guard}: {kind}")
            _wait_for(guard, injector)


def _wait_for(guard: str, injector: Injector) -> None:
    deadline = time.monotonic() + _SECONDS_TO_ACT
    while not _has_acted(guard, injector) and time.monotonic() < deadline:
        injector.keep_busy()
        injector.attend()
        time.sleep(0.1)


def _has_acted(guard: str, injector: Injector) -> bool:
    kept = findings.read(injector.database)
    return _guards(kept, injector.fleet, injector.submitter)[guard] > 0


def _wait_for_all(database: Database, attend: Callable[[], None]) -> None:
    """Until every job is finished, or nothing has happened for long."""
    heard, newest = time.monotonic(), 0.0
    while findings.unfinished(database):
        attend()
        time.sleep(0.1)
        if (now := findings.newest_event(database)) != newest:
            heard, newest = time.monotonic(), now
        if time.monotonic() - heard > _SECONDS_OF_SILENCE:
            return


def _pause(undisturbed: list[findings.Kept], workers: int) -> float:
    lasted = [job.events[-1].at - job.begins[1].at for job in undisturbed]
    return statistics.mean(lasted) / workers


def _lost(kept: list[findings.Kept], submitter: Submitter) -> list[str]:
    there = {job.id for job in kept}
    gone = [f"{job_id}: answered with 202, not there" for job_id in submitter.accepted]
    gone = [
        text for text, job_id in zip(gone, submitter.accepted, strict=True) if job_id not in there
    ]
    return gone + [
        f"{job.id}: {job.status} {job.error}" for job in kept if job.status != "succeeded"
    ]


def _different(kept: list[findings.Kept], undisturbed: list[findings.Kept]) -> list[str]:
    expected = {job.name: job.text for job in undisturbed if job.published}
    return [
        f"{job.id} ({job.name})"
        for job in kept
        if job.published and job.text != expected.get(job.name)
    ]


def _guards(kept: list[findings.Kept], fleet: Fleet, submitter: Submitter) -> dict[str, int]:
    kinds = Counter(event.kind for job in kept for event in job.events)
    rescued = [e for job in kept for e in job.events if e.data.get("rescued")]
    counts = (
        fleet.said("lease lost, dropped"),
        len(rescued),
        kinds["job.released"],
        kinds["process.restarted"],
        submitter.cut_off,
    )
    return dict(zip(GUARDS, counts, strict=True))


def _recovery(kept: list[findings.Kept], injector: Injector, lease: float) -> list[float]:
    begins = {job.id: job.begins for job in kept}
    found = [
        (begins[job_id][attempt + 1].at - at) / lease
        for job_id, attempt, at in injector.lost
        if attempt + 1 in begins[job_id] and begins[job_id][attempt + 1].data["rescued"]
    ]
    return [leases for leases in found if leases > 0]


def told(outcome: Outcome) -> str:
    """The outcome, to read."""
    lines = [
        f"{sum(outcome.faults.values())} faults over {outcome.jobs} jobs in {outcome.attempts} "
        f"attempts, {outcome.seconds:.0f} s: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items())),
        *(
            f"{what:24} {len(found)}" + "".join(f"\n    {item}" for item in found[:10])
            for what, found in (
                ("accepted jobs lost", outcome.lost),
                ("published twice", outcome.published_twice),
                ("stale writes", outcome.stale_writes),
                ("orphan processes", outcome.orphans),
                ("different answers", outcome.different),
                ("ends with an error", outcome.bad_ends),
            )
        ),
        "guards: " + ", ".join(f"{name} {count}" for name, count in outcome.guards.items()),
    ]
    if outcome.recovery:
        lines.append(
            f"a lost worker's job went on after {outcome.at(0.5):.2f} leases (median), "
            f"{outcome.at(0.95):.2f} (95 %), {len(outcome.recovery)} times"
        )
    if outcome.untested:
        lines.append("NOT TESTED, these guards never had to act: " + ", ".join(outcome.untested))
    return "\n".join(lines)


def to_stderr(text: str) -> None:
    """Progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
