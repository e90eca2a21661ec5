"""Reads a task's rows from its shard as Arrow batches of bounded size.

Two readers give the same: mssql-python's, which fills Arrow batches in C++, and the portable one
over pyodbc for any other ODBC driver. Any error of theirs fails the chunk: the end of the rows is
an empty fetch, never a lost connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from etl_cli.runtime.errors import EtlError, SourceError
from etl_cli.runtime.job import SNAPSHOT
from etl_cli.runtime.kept import Kept
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.source.connect import Shard, connect_arrow, connect_odbc, session_statement
from etl_cli.runtime.source.driver import uses_microsoft_driver
from etl_cli.runtime.source.errors import translate
from etl_cli.runtime.source.scan import ROWS_SENT, select_rows
from etl_cli.runtime.window import Window

BATCH_BYTES = 2_000_000
"""What a batch should hold; four streams keep a few of them each in several forms."""

MAX_BATCH_ROWS = 32_768
FIRST_FETCH_ROWS = 1_024
MAX_FETCH_BYTES = 16_000_000
"""What one fetch may bring at the most, by the declared widths of the columns."""

FIRST_FETCH_ROWS_LARGE = 64
MAX_FETCH_ROWS_LARGE = 512
"""The most that one fetch asks of a table with (max) columns: its next rows may be of any size, whatever the last
ones were. Fetches are put together to batches."""


class Cursor(Protocol):
    """What both readers offer."""

    def fetch(self, rows: int) -> pa.RecordBatch:
        """At most `rows` further rows, columns named as in the source; an empty batch is the end."""

    def ask(self, statement: str) -> tuple[Any, ...]:
        """The one row that a statement gives, at this moment of the transaction."""

    def scan(self, window: Window) -> None:
        """Start the scan of the window's rows."""


class BatchReader:
    """Hands out a task's rows in batches of about BATCH_BYTES, learning how wide its rows are.

    Raises SourceError, also where not all rows that the server sent have arrived.
    """

    def __init__(self, cursor: Cursor, plan: TablePlan) -> None:
        self._cursor = cursor
        self._plan = plan
        self._fetched = 0
        self._most = min(MAX_BATCH_ROWS, max(1, MAX_FETCH_BYTES // plan.row_bytes))
        self._rows = min(FIRST_FETCH_ROWS, self._most)
        if plan.has_large_columns:
            self._most = min(self._most, MAX_FETCH_ROWS_LARGE)
            self._rows = min(self._rows, FIRST_FETCH_ROWS_LARGE)
        self._ended = False

    def read(self, limit: int) -> pa.RecordBatch | None:
        """At most `limit` further rows; None after the last."""
        pieces: list[pa.RecordBatch] = []
        rows = size = 0
        while not self._ended and rows < limit and size < BATCH_BYTES // 2:
            piece = self._cursor.fetch(min(self._rows, limit - rows))
            if piece.num_rows == 0:
                self._end()
                break
            pieces.append(piece)
            rows += piece.num_rows
            self._fetched += piece.num_rows
            size += self._learned(piece)
        if len(pieces) <= 1:
            return pieces[0] if pieces else None
        return pa.concat_batches(pieces)

    def _end(self) -> None:
        """Trap 1: have the server confirm that these were all rows.

        An empty batch proves nothing: mssql-python (1.16) gives one, and no error, when the connection is lost
        within a result. A lost connection cannot answer this question.
        """
        self._ended = True
        sent = int(self._cursor.ask(ROWS_SENT)[0])
        if sent != self._fetched:
            raise SourceError(f"{self._plan.source}: the server sent {sent} rows, {self._fetched} arrived", "run again")

    def _learned(self, piece: pa.RecordBatch) -> int:
        """Aim at BATCH_BYTES with the next fetch, growing by steps; the bytes of this one."""
        size = int(piece.nbytes)
        self._rows = max(1, min(BATCH_BYTES * piece.num_rows // max(1, size), 4 * piece.num_rows, self._most))
        return size


@contextmanager
def open_cursor(kept: Kept, shard: Shard, plan: TablePlan, isolation: str) -> Iterator[Cursor]:
    """A cursor in a transaction of that isolation, on the kept connection to the shard. Raises SourceError."""
    arrow = uses_microsoft_driver(shard.source.driver)
    connect: Callable[[Shard], Any] = connect_arrow if arrow else connect_odbc
    key = (shard.name, shard.address, arrow)
    with kept.use(key, lambda: connect(shard), lambda c: _greet(c, shard, plan)) as connection:
        cursor = connection.cursor()
        with reading(shard, plan):
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            if isolation == SNAPSHOT:
                cursor.execute("BEGIN TRANSACTION")
        yield _cursor_of(shard, plan, cursor, arrow=arrow)
        with reading(shard, plan):
            if isolation == SNAPSHOT:
                cursor.execute("COMMIT TRANSACTION")
            cursor.close()


def _greet(connection: Any, shard: Shard, plan: TablePlan) -> None:
    with reading(shard, plan), connection.cursor() as cursor:
        cursor.execute(session_statement(shard))


def _cursor_of(shard: Shard, plan: TablePlan, cursor: Any, *, arrow: bool) -> Cursor:
    if arrow:
        return _ArrowCursor(shard, plan, cursor)
    from etl_cli.runtime.source.rows import RowCursor

    return RowCursor(shard, plan, cursor)


class _ArrowCursor:
    """mssql-python's reader."""

    def __init__(self, shard: Shard, plan: TablePlan, cursor: Any) -> None:
        self._shard = shard
        self._plan = plan
        self._cursor = cursor

    def ask(self, statement: str) -> tuple[Any, ...]:
        with reading(self._shard, self._plan):
            self._cursor.execute(statement)
            return tuple(self._cursor.fetchone())

    def scan(self, window: Window) -> None:
        with reading(self._shard, self._plan):
            self._cursor.execute(select_rows(self._plan, window))

    def fetch(self, rows: int) -> pa.RecordBatch:
        with reading(self._shard, self._plan):
            return self._cursor.arrow_batch(rows)


@contextmanager
def reading(shard: Shard, plan: TablePlan) -> Iterator[None]:
    """Turns what a driver raises into a SourceError that names the table."""
    try:
        yield
    except (EtlError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        raise translate(error, shard.name, f"reading {plan.source}") from error
