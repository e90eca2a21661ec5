"""The attempts that are under way: started in children, listened to, ended when they hang, reaped."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from etl_cli.runtime.service.child import Child
from etl_cli.runtime.service.reports import Report
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.timers import Timers
from etl_cli.runtime.service.work import Work

STALL_LOOK_S = 30.0
CANCEL_S = 3.0
"""How long after a cancel an attempt may take to roll back; then it is killed."""

_MARGIN_S = 5.0


class Attempts:
    """`heard` is told every report, `ended` every end with its exit code, both in the loop's thread.

    `works_in_sink` says whether the sink shows a statement of the pipeline as active: that is not silence.
    """

    def __init__(
        self,
        directory: Path,
        taken: TakenConfig,
        selector: selectors.BaseSelector,
        timers: Timers,
        heard: Callable[[Work, Report], None],
        ended: Callable[[Child, Work, int], None],
        works_in_sink: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._taken = taken
        self._selector = selector
        self._timers = timers
        self._heard = heard
        self._ended = ended
        self._works_in_sink = works_in_sink
        self._children: dict[Child, Work] = {}
        self._stop_by: float | None = None

    @property
    def are_active(self) -> bool:
        """Whether any process is there."""
        return bool(self._children)

    @property
    def are_cancelled(self) -> bool:
        """Whether any was cancelled and has not ended yet."""
        return any(child.cancelled_by is not None for child in self._children)

    @property
    def at_work(self) -> list[tuple[Child, Work]]:
        """Those whose run is not over; a process may be there for a moment longer."""
        return [(child, work) for child, work in self._children.items() if not child.has_told_its_end]

    @property
    def sleep_s(self) -> float | None:
        """How long nobody need look after them; None = for ever."""
        longest = [min(STALL_LOOK_S, self._taken.config.stall_timeout / 2)] if self._children else []
        if self._stop_by is not None:
            longest.append(max(0.1, self._stop_by - time.monotonic()))
        return min(longest, default=None)

    def start(self, work: Work) -> Child:
        """Begin an attempt."""
        child = Child(self._directory, self._taken.text, work.as_json())
        self._children[child] = work
        self._selector.register(child.pipe, selectors.EVENT_READ, partial(self._listen, child))
        limit_s = self._taken.config.run_timeout
        if limit_s is not None:
            reason = f"it took longer than run_timeout ({limit_s:.0f} s)"
            self._timers.after(limit_s, f"timeout {child.pid}", partial(child.kill, reason))
        return child

    def stop(self) -> None:
        """Have all of them stop in order; those that have not by `stop_grace` are killed."""
        self._stop_by = time.monotonic() + self._taken.config.stop_grace + _MARGIN_S
        for child in self._children:
            child.stop()

    def cancel(self, which: Callable[[Work], bool], by: str) -> bool:
        """Have those end for good; whether there are any."""
        reason = f"it did not end within {CANCEL_S:.0f} s of its cancelling"
        cancelled = [child for child, work in self._children.items() if which(work)]
        for child in cancelled:
            child.cancel(by)
            self._timers.after(CANCEL_S, f"timeout {child.pid}", partial(child.kill, reason))
        return bool(cancelled)

    def reap(self) -> None:
        """Look which have ended, and after those that have not."""
        for child, work in list(self._children.items()):
            code = child.ended()
            if code is None:
                self._look_after(child)
                continue
            self._listen(child)
            self._selector.unregister(child.pipe)
            child.close()
            del self._children[child]
            self._timers.cancel(f"timeout {child.pid}")
            self._ended(child, work, code)

    def _listen(self, child: Child) -> None:
        for report in child.reports():
            self._heard(self._children[child], report)

    def _look_after(self, child: Child) -> None:
        """End a child that has been silent for too long, or that does not stop."""
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            child.kill("it did not stop within stop_grace")
        silent_s = time.monotonic() - child.heard_at
        if silent_s <= self._taken.config.stall_timeout:
            return
        if self._works_in_sink():
            child.heard_at = time.monotonic()
        else:
            child.kill(f"it was silent for {silent_s:.0f} s (stall_timeout)")
