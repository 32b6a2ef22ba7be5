"""Several trainers in processes of their own, which work side by side."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from worker.remote import RemoteTask
from worker.runners.runner import Began, Ended, Event, Gave

_AGAIN_SECONDS = 0.2


class Pool:
    """See `worker.runners.runner.Runner`.

    A trainer is started once there is work for it, while the others work already. One that cannot
    be started is done without.

    Args:
        first: the first of them, which has been started already.
        further: starts another one of the same task; called in a thread of its own.
        slots: how many there may be.
        room: given the first, once it has worked: how many trainers there is memory for; None where
            `slots` says all.
    """

    def __init__(
        self,
        first: RemoteTask,
        further: Callable[[], RemoteTask],
        slots: int,
        room: Callable[[RemoteTask], int] | None = None,
    ) -> None:
        self.trainer, self.slots, self._room = first, slots, room
        self.tell: Callable[[str], None] = lambda _message: None
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._free = [_Slot(first, further, self._news)]
        self._cold = [_Slot(None, further, self._news) for _ in range(slots - 1)]
        self._slots = [*self._free, *self._cold]
        self._starting = 0

    def make(
        self, waiting: deque[Any], goes_on: Callable[[Any], bool] = lambda _work: True
    ) -> Generator[Event, None, None]:
        """See `Runner`."""
        busy: dict[_Slot, Any] = {}
        try:
            while waiting or busy:
                while waiting and self._free:
                    work = waiting.popleft()
                    if not goes_on(work):
                        waiting.clear()
                        break
                    yield Began(work)
                    slot = self._free.pop(0)
                    busy[slot] = work
                    slot.work(work)
                self._start(len(waiting))
                if not busy:
                    continue
                news = self._news.get()
                if self._is_of_start(news):
                    continue
                if news.ended:
                    self._rest(busy, news.slot)
                    yield Ended(news.work, news.error)
                else:
                    yield Gave(news.work, news.value)
        finally:
            self._stop(busy)

    def close(self) -> None:
        """End all trainers; those that are still being started end once they are."""
        for slot in self._slots:
            slot.close()

    def _start(self, count: int) -> None:
        """Start trainers for so many pieces of work that wait."""
        if self._room:  # not known yet
            return
        while self._cold and self._starting < count:
            self._starting += 1
            self._cold.pop(0).start()

    def _is_of_start(self, news: "_News") -> bool:
        if news.work is not None:
            return False
        self._starting -= 1
        trainer = news.slot.trainer
        if news.error or trainer is None:
            self._lose(news.slot, f"{news.error}")
        elif trainer.facts != self.trainer.facts:
            self._lose(news.slot, "the task that it built is another one")
        else:
            self._free.append(news.slot)
        return True

    def _lose(self, slot: "_Slot", why: str) -> None:
        slot.close()
        self._slots.remove(slot)
        self.slots -= 1
        self.tell(f"one slot less, {self.slots} left: {why}")

    def _rest(self, busy: dict["_Slot", Any], slot: "_Slot") -> None:
        del busy[slot]
        self._free.append(slot)
        if self._room and slot.trainer:
            self._fit(self._room(slot.trainer))
            self._room = None

    def _fit(self, most: int) -> None:
        """Do without the trainers that there is no memory for."""
        kept = max(most, 1)
        if kept >= self.slots:
            return
        for slot in self._cold[kept - 1 :]:
            self._slots.remove(slot)
        del self._cold[kept - 1 :]
        self.tell(f"{kept} of {self.slots} slots: there is no memory for more of them")
        self.slots = kept

    def _stop(self, busy: dict["_Slot", Any]) -> None:
        """End what still works: nobody listens any more."""
        while busy:
            for slot in busy:
                slot.stop()
            try:
                news = self._news.get(timeout=_AGAIN_SECONDS)
            except queue.Empty:
                continue
            if not self._is_of_start(news) and news.ended:
                self._free.append(news.slot)
                del busy[news.slot]


class _Slot:
    """A trainer and the thread that waits for it.

    The thread lives as long as the slot: a sandbox ends with the thread that started it.
    """

    def __init__(
        self,
        trainer: RemoteTask | None,
        begin: Callable[[], RemoteTask],
        news: "queue.SimpleQueue[_News]",
    ) -> None:
        self.trainer, self._begin, self._news = trainer, begin, news
        self._closed = False
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._live, daemon=True).start()

    def start(self) -> None:
        """Start the trainer."""
        self._asked.put(self._start)

    def work(self, work: Any) -> None:
        """Do a piece of work."""
        self._asked.put(lambda: self._work(work))

    def stop(self) -> None:
        """End what the trainer does; it is started anew by the next work."""
        if self.trainer:
            self.trainer.close()

    def close(self) -> None:
        """End the trainer and the thread."""
        self._closed = True
        self.stop()
        self._asked.put(None)

    def _live(self) -> None:
        while asked := self._asked.get():
            asked()
        self.stop()

    def _start(self) -> None:
        try:
            self.trainer = self._begin()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            self._news.put(_News(self, None, error=error, ended=True))
        else:
            self._news.put(_News(self, None, ended=True))

    def _work(self, work: Any) -> None:
        try:
            for value in work.on(self.trainer):
                self._news.put(_News(self, work, value=value))
        except Exception as error:  # noqa: BLE001 - anything a model may raise
            self._news.put(_News(self, work, error=error, ended=True))
        else:
            self._news.put(_News(self, work, ended=True))


@dataclass(frozen=True)
class _News:
    """What a thread tells; of a start where there is no work."""

    slot: _Slot
    work: Any
    value: Any = None
    error: Exception | None = None
    ended: bool = False
