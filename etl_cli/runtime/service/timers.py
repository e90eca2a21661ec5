"""What the supervisor does at a time, and how long it may sleep until then: the `schedule` package as a queue.

The process runs in UTC (`use_utc`), for the package counts in naive local time, which jumps twice a year.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable

import schedule


def use_utc() -> None:
    """Let naive local times of this process be UTC."""
    os.environ["TZ"] = "UTC"
    time.tzset()


class Timers:
    """Calls things once, at their time; nothing is called but by `run_due`."""

    def __init__(self) -> None:
        self._scheduler = schedule.Scheduler()

    def at(self, when: dt.datetime, name: str, call: Callable[[], None]) -> None:
        """Call at an aware time, in place of what was to be called under that name."""
        self.cancel(name)

        def once() -> type[schedule.CancelJob]:
            call()
            return schedule.CancelJob

        job = self._scheduler.every(1).seconds.do(once).tag(name)
        job.next_run = when.astimezone(dt.UTC).replace(tzinfo=None)

    def after(self, seconds: float, name: str, call: Callable[[], None]) -> None:
        """The same so many seconds from now."""
        self.at(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), name, call)

    def cancel(self, name: str) -> None:
        """Forget what was to be called under that name."""
        self._scheduler.clear(name)

    def has(self, name: str) -> bool:
        """Whether something is to be called under that name."""
        return bool(self._scheduler.get_jobs(name))

    def run_due(self) -> None:
        """Call what is due."""
        self._scheduler.run_pending()

    def idle_s(self) -> float | None:
        """How long nothing is due; None = nothing is planned."""
        idle = self._scheduler.idle_seconds
        return None if idle is None else max(0.0, idle)
