"""Locks of rows, keys and tables: first come, first served; a cycle of waits is a deadlock (1205)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

from etl_cli.sandbox.standin.errors import deadlock, lock_timeout

POLL_S = 0.05  # how often a waiter looks whether its client has gone or cancelled


class LockManager:
    """Exclusive and shared locks by resource; an owner is any object with a spid."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._holders: dict[Hashable, dict[int, bool]] = {}  # resource -> owner -> exclusive
        self._held: dict[int, set[Hashable]] = {}
        self._waiting: dict[int, set[int]] = {}  # owner -> owners it waits for

    def acquire(
        self,
        owner: int,
        resource: Hashable,
        *,
        exclusive: bool,
        timeout_ms: int,
        check: Callable[[], None],
        spid: int,
    ) -> bool:
        """Take a lock and return whether it had to wait. timeout_ms -1 waits for ever.

        check is called while waiting and may raise. 1222 at the timeout, 1205 when waiting closes a cycle.
        """
        deadline = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
        waited = False
        with self._condition:
            try:
                while blockers := self._blockers(owner, resource, exclusive):
                    waited = True
                    self._waiting[owner] = blockers
                    if self._closes_cycle(owner):
                        raise deadlock(spid)
                    self._wait(deadline, check)
                self._grant(owner, resource, exclusive)
            finally:
                self._waiting.pop(owner, None)
        return waited

    def _wait(self, deadline: float | None, check: Callable[[], None]) -> None:
        left = POLL_S if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise lock_timeout()
        self._condition.wait(min(left, POLL_S))
        check()

    def _blockers(self, owner: int, resource: Hashable, exclusive: bool) -> set[int]:
        holders = self._holders.get(resource, {})
        return {other for other, held in holders.items() if other != owner and (exclusive or held)}

    def _closes_cycle(self, owner: int) -> bool:
        seen: set[int] = set()
        pending = list(self._waiting.get(owner, ()))
        while pending:
            other = pending.pop()
            if other == owner:
                return True
            if other not in seen:
                seen.add(other)
                pending.extend(self._waiting.get(other, ()))
        return False

    def _grant(self, owner: int, resource: Hashable, exclusive: bool) -> None:
        holders = self._holders.setdefault(resource, {})
        holders[owner] = exclusive or holders.get(owner, False)
        self._held.setdefault(owner, set()).add(resource)

    def release_all(self, owner: int) -> None:
        """Give back everything that owner holds."""
        with self._condition:
            for resource in self._held.pop(owner, set()):
                holders = self._holders[resource]
                del holders[owner]
                if not holders:
                    del self._holders[resource]
            self._condition.notify_all()
