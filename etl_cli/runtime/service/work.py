"""What a supervisor has to do next: runs that wait, with where they come from and how often they have failed. Pure."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from etl_cli.runtime.request import Request


@dataclass(frozen=True)
class Work:
    """A run that is to be made, or tried again."""

    cause: str
    """`slot`, `request` or `resumption`: who asked for it."""
    request: Request
    slot: dt.datetime | None = None
    entry: int = 0
    request_id: int | None = None
    failures: int = 0
    first_failure: dt.datetime | None = None

    @property
    def name(self) -> str:
        """For the log."""
        return f"slot {self.slot:%Y-%m-%d %H:%M:%S %Z}" if self.slot is not None else self.cause

    def failed(self, now: dt.datetime) -> Work:
        """The same, after another failure; whatever was committed is not read again."""
        whole = not self.request.is_partial
        # another try goes on with the run that failed, which knows of the steps that it had kept
        request = replace(self.request, resume=whole, rerun_of=None, from_step=None)
        return replace(self, request=request, failures=self.failures + 1, first_failure=self.first_failure or now)

    def as_json(self) -> dict[str, Any]:
        """For the child."""
        return {
            "requested_by": self.cause,
            "resume": self.request.resume,
            "tables": list(self.request.tables),
            "shards": list(self.request.shards),
            "full": self.request.full,
            "where": self.request.where,
            "params": dict(self.request.params),
            "steps": list(self.request.steps),
            "members": list(self.request.members),
            "rerun_of": self.request.rerun_of,
            "from_step": self.request.from_step,
            "slot": self.slot.isoformat() if self.slot is not None else None,
            "request_id": self.request_id,
        }


@dataclass
class Queue:
    """What waits, in order; what `overlap` says of a slot that comes while a run is active."""

    overlap: str
    waiting: deque[Work] = field(default_factory=deque)

    def offer(self, work: Work, *, busy: bool) -> bool:
        """Take it up; False where it is skipped: something is active, and overlap is `skip`.

        With `queue` one slot waits at most: a second one would do nothing that the first does not.
        """
        if work.cause == "slot" and (busy or self.waiting):
            if self.overlap == "skip":
                return False
            if any(other.cause == "slot" and other.entry == work.entry for other in self.waiting):
                return False
        self.waiting.append(work)
        return True

    def forget(self, which: Callable[[Work], bool]) -> list[Work]:
        """Run those not at all; what they are."""
        forgotten = [work for work in self.waiting if which(work)]
        for work in forgotten:
            self.waiting.remove(work)
        return forgotten

    def next(self, *, busy: bool) -> Work | None:
        """What is to be started now: one at a time, unless overlap is `allow`."""
        if self.waiting and (not busy or self.overlap == "allow"):
            return self.waiting.popleft()
        return None
