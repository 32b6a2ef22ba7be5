"""What makes pieces of work with one trainer or several, and tells what comes of them."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from worker.task import Task
from worker.trainer import Trainer

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Work(Generic[T]):
    """A piece of work that one trainer does, whichever is free; `on` gives results as they come.

    What it gives must not depend on the trainer, nor on what that did before.
    """

    on: Callable[[Task | Trainer], Iterator[T]]


@dataclass(frozen=True)
class Event:
    """Something that happened to a piece of work."""

    work: Any


class Began(Event):
    """A trainer begins with it."""


@dataclass(frozen=True)
class Gave(Event):
    """It gave a result."""

    value: Any


@dataclass(frozen=True)
class Ended(Event):
    """It is over; `error` is what it raised."""

    error: Exception | None = None


class Runner(Protocol):
    """Who trains. One thread only uses it; `close` ends all that it started."""

    tell: Callable[[str], None]
    """Given a sentence, by that thread, where fewer trainers work than were asked for."""

    @property
    def trainer(self) -> Task | Trainer:
        """One trainer: who answers for the task, and for what is asked one at a time."""

    @property
    def slots(self) -> int:
        """So many pieces of work are made at a time, at most."""

    def make(
        self, waiting: deque[Any], goes_on: Callable[[Any], bool] = lambda _work: True
    ) -> Generator[Event, None, None]:
        """Begin what waits in its order, and tell what happens, until nothing waits or works.

        Whoever is told may put more into `waiting`. Before a piece begins, `goes_on` is asked; once
        it says no, nothing that waits is begun. Whoever stops listening ends what still works.
        """

    def close(self) -> None:
        """End what was started."""


class InTurn:
    """See `Runner`: one trainer, and one piece of work after another."""

    slots = 1

    def __init__(self, trainer: Task | Trainer) -> None:
        self.trainer = trainer
        self.tell: Callable[[str], None] = lambda _message: None

    def make(
        self, waiting: deque[Any], goes_on: Callable[[Any], bool] = lambda _work: True
    ) -> Generator[Event, None, None]:
        """See `Runner`."""
        while waiting:
            work = waiting.popleft()
            if not goes_on(work):
                waiting.clear()
                return
            yield Began(work)
            yield from self._made(work)

    def _made(self, work: Any) -> Iterator[Event]:
        try:
            for value in work.on(self.trainer):
                yield Gave(work, value)
        except Exception as error:  # noqa: BLE001 - anything a model may raise
            yield Ended(work, error)
        else:
            yield Ended(work)

    def close(self) -> None:
        """See `Runner`: whoever gave the trainer ends it."""


def in_order(
    runner: Runner, asked: Sequence[Work[T]], goes_on: Callable[[], bool] = lambda: True
) -> Iterator[T]:
    """The one result of each piece of work, in the order in which they were asked for.

    Once one fails, nothing that was asked for after it counts.

    Raises:
        Exception: what the first that failed raised.
    """
    left, found = deque(asked), dict[Any, Any]()
    with closing(runner.make(deque(asked), lambda _work: goes_on())) as events:
        for event in events:
            if isinstance(event, Gave):
                found[event.work] = event.value
            elif isinstance(event, Ended) and event.error:
                found[event.work] = event.error
            while left and left[0] in found:
                value = found[left.popleft()]
                if isinstance(value, Exception):
                    raise value
                yield value
