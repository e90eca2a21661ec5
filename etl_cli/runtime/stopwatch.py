"""Tells where a stream's time goes: reading, encoding, loading."""

from __future__ import annotations

import time

from etl_cli.runtime.ledger.chunks import Held
from etl_cli.runtime.progress import Moved


class Stopwatch:
    """Runs while one of `reading`, `encoding` and `loading` is entered; the innermost gets the time.

    So loading is what a chunk takes beside reading and encoding.
    """

    def __init__(self) -> None:
        self._spent_s = {"read": 0.0, "encode": 0.0, "load": 0.0}
        self._stack: list[str] = []
        self._since = 0.0

    def reading(self) -> Stopwatch:
        """To be entered at once, like the other two: time counts from the call on."""
        return self._push("read")

    def encoding(self) -> Stopwatch:
        """See `reading`."""
        return self._push("encode")

    def loading(self) -> Stopwatch:
        """See `reading`."""
        return self._push("load")

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._switch()
        self._stack.pop()

    def moved(self, held: Held) -> Moved:
        """What is held, with the seconds spent since the start."""
        self._switch()
        return Moved(
            held.rows_read,
            held.rows,
            held.bytes,
            self._spent_s["read"],
            self._spent_s["encode"],
            self._spent_s["load"],
            held.rejected,
            held.counts.inserted,
            held.counts.updated,
            held.counts.deleted,
        )

    def _push(self, what: str) -> Stopwatch:
        self._switch()
        self._stack.append(what)
        return self

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self._spent_s[self._stack[-1]] += now - self._since
        self._since = now
