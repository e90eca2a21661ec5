"""Watches the connection to the ledger: hears what arrives on it, and has it tried again when it is lost."""

from __future__ import annotations

import selectors
from collections.abc import Callable

from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.timers import Timers

RECONNECT_S = 16.0
"""The sink that is away is tried again after 1 s, then after twice as long each time, in the end after this."""


class LedgerWatch:
    """Of one service; `link` is the connection.

    It calls `on_news` when somebody has asked for something, `on_lost` when the connection is found lost, and
    `reconnect` when it is time to `connect` again.
    """

    def __init__(
        self,
        taken: TakenConfig,
        selector: selectors.BaseSelector,
        timers: Timers,
        log: Log,
        *,
        on_news: Callable[[], None],
        on_lost: Callable[[], None],
        reconnect: Callable[[], None],
    ) -> None:
        self._taken = taken
        self._timers = timers
        self._log = log
        self._on_news = on_news
        self._on_lost = on_lost
        self._reconnect = reconnect
        self._reconnect_s = 1.0
        self.link = Link(taken.config, selector, self._hear)

    def connect(self) -> bool:
        """Try once; where the sink is away, the next try is planned. Raises PlanError as `Link.connect` does."""
        if not self.link.connect():
            self._lost()
            return False
        self._timers.cancel("reconnect")
        self._reconnect_s = 1.0
        return True

    def look(self, *, stopping: bool) -> None:
        """Hear what arrived beside an answer, which wakes nobody, and see that an answer did not come."""
        if self.link.is_up:
            self._hear()
        elif not stopping and not self._timers.has("reconnect"):
            self._lost()

    def _hear(self) -> None:
        if self.link.heard():
            self._on_news()
        if not self.link.is_up:
            self._lost()

    def _lost(self) -> None:
        self._on_lost()
        self._log.warning(f"{self._taken.redacted(self.link.error)}; next try in {self._reconnect_s:.0f} s")
        self._timers.after(self._reconnect_s, "reconnect", self._reconnect)
        self._reconnect_s = min(2 * self._reconnect_s, RECONNECT_S)
