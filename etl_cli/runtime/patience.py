"""Tells that a stream is at work while its shard works on a statement that gives nothing yet.

A first sort, a count, a checksum may take longer than `stall_timeout`; the service takes silence for a hang. What a
shard does for the stream only an administrator may look up, but that it still answers others anybody may.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pyodbc

from etl_cli.runtime.errors import SourceError
from etl_cli.runtime.source.connect import Shard, connect_odbc

INTERVAL_S = 10.0


@contextlib.contextmanager
def patience(shard: Shard, tell: Callable[[], None], interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Within it `tell` is called every so often, from another thread, for as long as the shard answers."""
    ended = threading.Event()
    turn = threading.Lock()

    def watch() -> None:
        connection: pyodbc.Connection | None = None
        while not ended.wait(interval_s):
            try:
                connection = connection or connect_odbc(shard, attempts=1)
                connection.execute("SELECT 1").fetchone()
            except (SourceError, pyodbc.Error):
                connection = None
                continue
            with turn:
                if not ended.is_set():
                    tell()
        if connection is not None:
            connection.close()

    threading.Thread(target=watch, daemon=True, name="patience").start()
    try:
        yield
    finally:
        with turn:  # what is told by others from now on is not mixed up with this
            ended.set()
