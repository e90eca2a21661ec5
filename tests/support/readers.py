"""Sessions that read while something else happens, each in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.support.database import SinkDatabase


class Poller:
    """Asks one query again and again; keeps what it saw, what went wrong, and how long it waited at most."""

    def __init__(self, sink: SinkDatabase, query: str, isolation: str = "READ COMMITTED") -> None:
        self.seen: set[tuple[Any, ...]] = set()
        self.reads = 0
        self.slowest_s = 0.0
        self.error: Exception | None = None
        self._sink = sink
        self._query = query
        self._isolation = isolation
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the reader hangs"

    def _poll(self) -> None:
        try:
            with self._sink.connect() as connection:
                connection.execute(f"SET default_transaction_isolation = '{self._isolation.lower()}'")
                while not self._stop.is_set():
                    began = time.monotonic()
                    row = connection.execute(self._query).fetchone()
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    self.seen.add(row or ())
                    self.reads += 1
        except Exception as error:
            self.error = error


@contextlib.contextmanager
def reading(
    sink: SinkDatabase, first: str, isolation: str = "REPEATABLE READ", user: str | None = None
) -> Iterator[Any]:
    """An open transaction whose snapshot was taken by the query `first`; gives the connection."""
    with sink.connect(user) as connection:
        connection.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        connection.execute(first)
        yield connection
        connection.execute("ROLLBACK")
