"""Care for the source: no more than so many rows a second."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST = 2**31 - 1
_SHORTEST_S = 0.1


class Throttle:
    """Waits after each batch until its rows fit into the rate; None as rate never waits."""

    def __init__(
        self,
        rows_per_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rows_per_s = rows_per_s
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    @property
    def most_rows(self) -> int:
        """The most that one batch should hold, so that waits are short."""
        return _MOST if self._rows_per_s is None else max(1, int(self._rows_per_s * _SHORTEST_S))

    def wait(self, rows: int) -> None:
        """Wait for as long as these rows may take."""
        if self._rows_per_s is None or rows == 0:
            return
        now = self._clock()
        self._free_at = max(now, self._free_at) + rows / self._rows_per_s
        self._sleep(self._free_at - now)
