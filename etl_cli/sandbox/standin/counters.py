"""What tests may ask afterwards: rows sent, statements seen, connections open."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any

STATEMENTS_KEPT = 1000
TEXT_KEPT = 10_000


class Counters:
    """Counts of one server; a snapshot is plain data."""

    def __init__(self) -> None:
        self._latch = threading.Lock()
        self._rows: Counter[str] = Counter()
        self._statements: deque[str] = deque(maxlen=STATEMENTS_KEPT)
        self._open = 0
        self._total = 0

    def rows(self, table: str, count: int) -> None:
        """Count rows sent of a table (schema.table)."""
        if table:
            with self._latch:
                self._rows[table] += count

    def statement(self, text: str) -> None:
        """Keep a statement's text; the oldest make room."""
        if not text:
            return
        with self._latch:
            self._statements.append(text[:TEXT_KEPT])

    def connected(self, change: int) -> None:
        """Count a connection that opens (1) or ends (-1)."""
        with self._latch:
            self._open += change
            self._total += max(change, 0)

    def snapshot(self) -> dict[str, Any]:
        """Return rows_sent by table, statements, open_connections, total_connections."""
        with self._latch:
            return {"rows_sent": dict(self._rows), "statements": list(self._statements),
                    "open_connections": self._open, "total_connections": self._total}  # fmt: skip

    def reset(self) -> None:
        """Forget rows and statements."""
        with self._latch:
            self._rows.clear()
            self._statements.clear()
