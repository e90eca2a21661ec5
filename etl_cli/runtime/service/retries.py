"""What failed and is to be tried again: each waits for its time, then it is the first in the queue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from etl_cli.runtime.service.timers import Timers
from etl_cli.runtime.service.work import Queue, Work


class Retries:
    """Of one service."""

    def __init__(self, timers: Timers, queue: Queue) -> None:
        self._timers = timers
        self._queue = queue
        self._waiting: list[Work] = []

    @property
    def are_waiting(self) -> bool:
        """Whether anything is to be tried again."""
        return bool(self._waiting)

    def add(self, work: Work, delay_s: float) -> None:
        """Try it again after that time."""
        self._waiting.append(work)
        self._timers.after(delay_s, _timer(work), partial(self._try_again, work))

    def forget(self, which: Callable[[Work], bool] = lambda work: True) -> list[Work]:
        """Try those no more; what they are."""
        forgotten = [work for work in self._waiting if which(work)]
        for work in forgotten:
            self._waiting.remove(work)
            self._timers.cancel(_timer(work))
        return forgotten

    def _try_again(self, work: Work) -> None:
        self._waiting.remove(work)
        self._queue.waiting.appendleft(work)


def _timer(work: Work) -> str:
    """Of this work alone: two requests have one name in the log, and so have two entries that are due at once."""
    return f"retry {work.cause} {work.slot} {work.entry} {work.request_id}"
