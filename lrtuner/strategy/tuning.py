"""The search: which runs to make, one generation after another, until the budget is spent.

It trains nothing. `tune` yields lists of runs that it wants and is sent what came of them, so the
same code chooses among real trainings and among recorded ones; and a search that was interrupted is
resumed by answering the same questions from the record.

Whole schedules are compared, compressed to a part of the horizon: first many over the shortest,
then the best of them over longer ones, the peak carried from each to the next. All runs of a seed
start from the same weights and see the same data, and only differences to the reference within a
seed count.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lrtuner.range_test import centre, next_rate
from lrtuner.strategy.arms import Ask, Result
from lrtuner.strategy.peaks import drift, nearest, neighbours
from lrtuner.strategy.problem import Candidate, Outcome, Problem
from lrtuner.strategy.proposals import Entrant, Tuned
from lrtuner.strategy.record import Asking, Record
from lrtuner.strategy.standing import paired_spread

FINALS_FROM = 2.75
"""Full runs that must be left before a run over the whole horizon is made: the reference, one other
and something to choose it by; and one more for a baseline that is given. With less, shorter runs
say more."""

RUNGS_FROM = 9.0
"""Full runs that must be left before there is a rung between the shortest and the whole horizon."""

SCREEN_SHARE, RUNG_SHARE, FINAL_SHARE = 0.25, 0.2, 0.3
"""What parts of the budget left go to the screen, the rung and the first finals, where there are
all three; the rest goes to what is derived from the finals and to repeats."""

FINAL_SHARE_WITHOUT_RUNG = 0.55
"""What part goes to the finals where there is no rung; the screen gets the rest."""

MAX_FINALS = 6

PLANNED_SHARE = 0.6
"""What part of the screened candidates the bound proposes, where a sampler proposes the rest."""

MAX_PLANNED = 40

ROOMY = 8
"""Only where more than so many candidates can be screened, usual rates that are probably bad come
first, and a sampler is asked: with few results it draws at random."""

GENERATION = 4
"""So many candidates are asked of the sampler at once."""

USUAL_APART = 1.5
"""The library's usual rate is tried unless one within this ratio has been."""

NEIGHBOUR = 2.0**0.75
"""How far the peak of the best is shifted, up and down, before it is believed; and by how much the
peak of every second shape in the screen is above what is carried over to it. What the probes lead
to keeps away from the cliff, and the best is often nearer to it."""

CLEARLY_BEHIND = 2.5
"""So many paired standard deviations behind the best, an entrant is not run again."""

MAX_RACE = 3
"""At most so many run beside the reference on each seed but the first."""


def tune(problem: Problem, known: Sequence[Result] = ()) -> Asking[Outcome | None]:
    """Ask for runs, generation by generation; returns the outcome, None if all diverged.

    Whoever drives it sends the results of what was asked, in that order; fewer than asked for means
    that nothing further can be run. `known` are results from before, of the reference over one
    horizon and at several peaks; they are not charged again.
    """
    return _Search(problem, list(known)).run()


class _Search(Record):
    """The rounds."""

    def run(self) -> Asking[Outcome | None]:
        yield from self._peak()
        reference = self._tuned_reference()
        if reference is None:
            return None
        self.drift = drift(self._reference_peaks())
        self.entrants.append(reference)
        finals = yield from self._compete()
        outcome = self._outcome(finals)
        return outcome if math.isfinite(outcome.candidates[0].behind) else None

    # the peak of the reference --------------------------------------------------------------------

    def _peak(self) -> Asking[None]:
        """Try the reference at one peak after another over the shortest horizon."""
        shape = self.problem.reference
        own = [r for r in self.results if r.ask.shape.key == shape.key]
        steps = own[0].ask.steps if own else self._first_horizon()
        while not self.over:
            lr = self._next_peak(steps)
            if lr is None:
                return
            ask = Ask(shape, lr, steps, 0, "peak", "reference")
            if not (yield from self._ask([ask], self.problem.budget)):
                return

    def _first_horizon(self) -> int:
        shape = self.problem.reference
        usable = [steps for steps in self.problem.horizons if shape.peaks(steps) != ()]
        return usable[0]

    def _next_peak(self, steps: int) -> float | None:
        """The peak to try next; None once the best has a worse one on both sides."""
        losses = self._by_peak(steps)
        available = self.problem.reference.peaks(steps)
        if available is None:
            return next_rate(losses, self.problem.start_lr, self.problem.bounds)
        if not losses:
            return nearest(self.problem.start_lr, available)
        best = min(losses, key=lambda lr: (losses[lr], lr))
        return next((lr for lr in neighbours(best, available) if lr not in losses), None)

    def _tuned_reference(self) -> Entrant | None:
        shape = self.problem.reference
        for steps in self.problem.horizons:
            best = centre(list(self._by_peak(steps).items()))
            lr = nearest(best, shape.peaks(steps)) if best else None
            if lr is not None:
                return Entrant(shape, lr, steps, "reference")
        return None

    # phases ---------------------------------------------------------------------------------------

    def _compete(self) -> Asking[bool]:
        """Screen, then longer and longer; returns whether any was run over the whole horizon."""
        horizons, budget = self.problem.horizons, self.problem.budget
        given = len(self.problem.given)
        left = self._left / self.problem.cost(self.problem.total_steps)
        if len(horizons) == 1:
            yield from self._screen(
                horizons[0], self._up_to(SCREEN_SHARE + RUNG_SHARE + FINAL_SHARE)
            )
        elif left < FINALS_FROM + given:
            yield from self._screen(self.reference.steps, budget)
            return False
        elif left < RUNGS_FROM:
            yield from self._two_rounds(_clipped(FINAL_SHARE_WITHOUT_RUNG * left, 2 + given))
        else:
            yield from self._all_rounds(_clipped(FINAL_SHARE * left, 3 + given))
        yield from self._repeat()
        yield from self._explore()
        return True

    def _two_rounds(self, finals: int) -> Asking[None]:
        """The horizon of the reference, then the whole one."""
        limit = self.problem.budget - finals * self.problem.cost(self.problem.total_steps)
        ranked = yield from self._screen(self.reference.steps, limit)
        yield from self._finals(ranked, finals)

    def _all_rounds(self, finals: int) -> Asking[None]:
        """Every horizon, and what follows from the finals."""
        *shorter, _ = self.problem.horizons
        screen_limit, rung_limit = self._up_to(SCREEN_SHARE), self._up_to(SCREEN_SHARE + RUNG_SHARE)
        yield from self._measure_drift(shorter[0], screen_limit)
        ranked = yield from self._screen(shorter[0], screen_limit)
        for steps in shorter[1:]:
            ranked = yield from self._rung(ranked, steps, rung_limit)
        yield from self._finals(ranked, finals)
        yield from self._follow_up()

    def _finals(self, ranked: Sequence[Entrant], count: int) -> Asking[None]:
        """Run the reference, what the user gave, and the best others over the whole horizon.

        The best takes part with a higher peak too: how far peaks fall with the horizon is a guess.
        """
        given = [entrant for entrant in self.entrants if entrant.origin == "user"]
        others = [entrant for entrant in ranked if entrant.origin != "user"]
        raised = [raised for best in others[:1] for raised in self._shifted(best)[:1]]
        others = [*others[:1], *raised, *others[1:]][: count - 1 - len(given)]
        self._enter([entrant for entrant in raised if entrant in others])
        entries = self._entries(
            [self.reference, *given, *others], self.problem.total_steps, "final"
        )
        yield from self._ask(entries, self.problem.budget)

    def _up_to(self, share: float) -> float:
        return self.spent + share * self._left

    def _measure_drift(self, steps: int, limit: float) -> Asking[None]:
        """Tune the reference over another horizon than its first, at three peaks."""
        available = self.reference.shape.peaks(steps)
        if steps == self.reference.steps or (available is not None and not available):
            return
        at = self._peak_over(self.reference, steps)
        if available is None:
            peaks = [at, at / NEIGHBOUR, at * NEIGHBOUR]
        else:
            peaks = [at, *neighbours(at, available)]
        asks = [self._entry(self.reference, steps, "screen")]
        asks += [replace(asks[0], lr=lr, purpose="peak") for lr in peaks[1:]]
        yield from self._ask(asks, limit)
        self.drift = drift(self._reference_peaks())

    def _screen(self, steps: int, limit: float) -> Asking[list[Entrant]]:
        """Compare many over a short horizon; returns them, the best first."""
        problem = self.problem
        if (steps, 0) not in self._standing(self.reference).losses:
            yield from self._ask(self._entries([self.reference], steps, "screen"), limit)
        roomy = self._room(steps, limit) > ROOMY
        planned, planned_limit = self._planned(steps, roomy=roomy), limit
        if problem.sampler and roomy:
            planned_limit = self.spent + PLANNED_SHARE * (limit - self.spent)
        self._enter(planned)
        yield from self._ask(self._entries(planned, steps, "screen"), planned_limit)
        while problem.sampler and (room := self._room(steps, limit)):
            sampled = problem.sampler(self.results, steps, min(room, GENERATION))
            fresh = [Entrant(shape, lr, steps, "sampler") for shape, lr in sampled]
            self._enter(fresh)
            if not (yield from self._ask(self._entries(fresh, steps, "screen"), limit)):
                break
        return self._ordered(steps)

    def _planned(self, steps: int, *, roomy: bool) -> list[Entrant]:
        """What takes part in the screen in any case, then what the bound proposes.

        With little room, usual rates that are beyond a worse peak come last.
        """
        proposed = self._raised(self._proposed(steps)[:MAX_PLANNED])
        usual, passed = self._usual(steps)
        if roomy:
            return [*self._given(), *usual, *passed, *proposed]
        return [*self._given(), *usual, *proposed, *passed]

    def _given(self) -> list[Entrant]:
        total = self.problem.total_steps
        return [Entrant(shape, lr, total, "user") for shape, lr in self.problem.given]

    def _usual(self, steps: int) -> tuple[list[Entrant], list[Entrant]]:
        """The library's usual rates that were not tried: those that may be good, and the others.

        The others lie beyond a peak that was worse than one on its other side.
        """
        tried = self._by_peak(self.reference.steps)
        best = min(tried, key=lambda lr: (tried[lr], lr))
        fresh = [
            Entrant(self.problem.reference, lr, steps, "usual")
            for lr in self.problem.usual_lrs
            if all(abs(math.log(lr / other)) > math.log(USUAL_APART) for other in tried)
        ]
        passed = [e for e in fresh if any(e.lr < x < best or e.lr > x > best for x in tried)]
        return [entrant for entrant in fresh if entrant not in passed], passed

    def _raised(self, proposed: Sequence[Entrant]) -> list[Entrant]:
        """Every second at a higher peak, where any can be tried."""
        _, high = self.problem.bounds
        return [
            replace(entrant, lr=min(entrant.lr * NEIGHBOUR, high))
            if number % 2 and entrant.shape.peaks(entrant.steps) is None
            else entrant
            for number, entrant in enumerate(proposed)
        ]

    def _proposed(self, steps: int) -> list[Entrant]:
        reference = self.reference
        lr = nearest(
            self.drift.carried(reference.lr, reference.steps, steps), reference.shape.peaks(steps)
        )
        if lr is None:
            return []
        taken = {reference.shape.key, *(shape.key for shape, _ in self.problem.given)}
        others = [shape for shape in self.problem.shapes if shape.key not in taken]
        return Tuned(reference.shape, lr, steps).proposals(others, self.problem.bounds)

    def _rung(self, ranked: Sequence[Entrant], steps: int, limit: float) -> Asking[list[Entrant]]:
        """Compare the best of the last horizon over the next; returns them, the best first."""
        count = max(3, self._room(steps, limit))
        entries = self._entries([self.reference, *ranked][:count], steps, "rung")
        yield from self._ask(entries, max(limit, self.spent + 3 * self.problem.cost(steps)))
        return self._ordered(steps)

    def _follow_up(self) -> Asking[None]:
        """What follows from the finals: refined shapes, and the best with its peak shifted.

        At most half of what is left goes to them, the rest to repeats.
        """
        problem, total = self.problem, self.problem.total_steps
        spare = self._room(total, problem.budget) // 2
        best = min([self.reference, *self._ordered(total)], key=self._behind)
        fresh = [*self._refined(best), *self._shifted(best)]
        fresh = fresh[:spare]
        self._enter(fresh)
        yield from self._ask(self._entries(fresh, total, "final"), problem.budget)

    def _refined(self, best: Entrant) -> list[Entrant]:
        derive, total = self.problem.derive, self.problem.total_steps
        made = self._made(self._entry(best, total, "final"))
        shapes = derive(made) if derive and made else []
        tuned = Tuned(best.shape, self._peak_over(best, total), total)
        proposed = tuned.proposals(shapes, self.problem.bounds)
        return [replace(entrant, origin="refined") for entrant in proposed]

    def _shifted(self, best: Entrant) -> list[Entrant]:
        total = self.problem.total_steps
        lr, available = self._peak_over(best, total), best.shape.peaks(total)
        low, high = self.problem.bounds
        peaks = [lr / NEIGHBOUR, lr * NEIGHBOUR] if available is None else neighbours(lr, available)
        peaks = sorted(peaks, reverse=True)
        return [Entrant(best.shape, x, total, "neighbour") for x in peaks if low <= x <= high]

    def _repeat(self) -> Asking[None]:
        """The best on further seeds, as long as the budget lasts and they are close."""
        total = self.problem.total_steps
        for seed in range(1, self.problem.seeds):
            race = self._race(total)[: self._room(total, self.problem.budget)]
            if len(race) < 2:
                return
            asks = [self._entry(entrant, total, "final", seed) for entrant in race]
            if not (yield from self._ask(asks, self.problem.budget)):
                return

    def _explore(self) -> Asking[None]:
        """Spend what is left on what is most promising and was not run over the whole horizon."""
        total, budget = self.problem.total_steps, self.problem.budget
        while self._room(total, budget):
            best = min([self.reference, *self._ordered(total)], key=self._behind)
            fresh = next((e for e in self._promising(best) if not self._made_whole(e)), None)
            if fresh is None:
                return
            self._enter([fresh])
            if not (yield from self._ask(self._entries([fresh], total, "final"), budget)):
                return

    def _promising(self, best: Entrant) -> Iterator[Entrant]:
        """The best at other peaks, then those of the shorter horizons, then what the bound says.

        Where everything diverged, lower peaks.
        """
        total = self.problem.total_steps
        yield from self._shifted(best)
        if math.isinf(self._behind(best)):
            yield from self._lowered(best)
        yield from self._ordered(self.reference.steps)
        tuned = Tuned(best.shape, self._peak_over(best, total), total)
        lost = {e.shape.key for e in self.entrants if math.isinf(self._behind(e))}
        sound = [shape for shape in self.problem.shapes if shape.key not in lost]
        yield from tuned.proposals(sound, self.problem.bounds)

    def _lowered(self, diverged: Entrant) -> Iterator[Entrant]:
        total, (low, _) = self.problem.total_steps, self.problem.bounds
        lr = self._peak_over(diverged, total)
        available = diverged.shape.peaks(total)
        if available is not None:
            yield from (Entrant(diverged.shape, x, total, "neighbour") for x in reversed(available))
            return
        while (lr := lr / NEIGHBOUR) >= low:
            yield Entrant(diverged.shape, lr, total, "neighbour")

    def _race(self, steps: int) -> list[Entrant]:
        """The reference and the best at that horizon that are not clearly behind."""
        ordered = self._ordered(steps)
        if not ordered:
            return []
        standings = [self._standing(entrant) for entrant in ordered]
        spread = paired_spread(standings, self._standing(self.reference), steps)
        reach = math.inf if spread is None else CLEARLY_BEHIND * spread
        best = self._behind(ordered[0])
        close = [entrant for entrant in ordered if self._behind(entrant) - best <= reach]
        return [self.reference, *close[:MAX_RACE]]

    def _outcome(self, finals: bool) -> Outcome:
        total = self.problem.total_steps
        run = [e for e in self.entrants[1:] if self._standing(e).losses]
        pool = self._ordered(total) if finals else run
        given = [e for e in self.entrants if e.origin == "user"]
        found: dict[tuple[str, float], Candidate] = {}
        for entrant in [self.reference, *(pool or run), *given]:
            candidate = self._candidate(entrant)
            found.setdefault((candidate.shape.key, candidate.lr), candidate)
        candidates = sorted(found.values(), key=lambda c: c.behind)
        tried = {lr: math.exp(loss) for lr, loss in self._by_peak(self.reference.steps).items()}
        measured = drift(self._reference_peaks())
        return Outcome(tuple(candidates), self._candidate(self.reference), measured, tried)

    def _candidate(self, entrant: Entrant) -> Candidate:
        total = self.problem.total_steps
        trained = any(steps == total for steps, _ in self._standing(entrant).losses)
        return Candidate(
            entrant.shape,
            self._peak_over(entrant, total),
            entrant.origin,
            self._behind(entrant),
            trained,
        )


def _clipped(finals: float, least: int) -> int:
    return min(max(round(finals), least), MAX_FINALS)
