"""Loads a chunk: COPY of its rows and its ledger row, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.ledger.chunks import ChunkId, begin_chunk, complete_chunk
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection, translate
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.type_map import base_type


class ChunkWriter:
    """Takes a chunk's bytes, and counts what they stand for."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self.rows = 0
        self.bytes = 0
        self.last_key: str | None = None

    def write(self, data: bytes, rows: int, last_key: str | None) -> None:
        """Send one batch's bytes."""
        self._copy.write(data)
        self.rows += rows
        self.bytes += len(data)
        self.last_key = last_key

    def end(self, data: bytes) -> None:
        """Send what the encoder still held, and the trailer of the COPY stream."""
        self._copy.write(data)
        self.bytes += len(data)


class ChunkLoader:
    """Loads the chunks of one stream into the shadow, over a connection of its own."""

    def __init__(self, connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> None:
        self._connection = connection
        self._plan = plan
        columns = ", ".join(quote_sink(name) for name in plan.target_columns)
        self._statement = f"COPY {shadow.quoted} ({columns}) FROM STDIN (FORMAT BINARY)"
        # A crash of the server may take the last chunks of a shadow, but then rows and ledger rows
        # together: nothing is said to be there that is not. What makes them visible waits for the disk.
        connection.execute("SET synchronous_commit = off")

    @contextmanager
    def chunk(self, chunk: ChunkId, attempt: int) -> Iterator[ChunkWriter]:
        """A transaction that commits the chunk when the block ends, and nothing if it fails.

        Raises SinkError, and DataError where Postgres stored another number of rows than was sent.
        """
        try:
            with self._connection.transaction(), _nothing_altered(self._connection, self._plan):
                begin_chunk(self._connection, chunk, attempt)
                cursor = self._connection.cursor()
                with cursor.copy(self._statement) as copy:
                    writer = ChunkWriter(copy)
                    yield writer
                if cursor.rowcount != writer.rows:
                    raise DataError(
                        f"{self._plan.source}: {writer.rows} rows were sent, Postgres stored {cursor.rowcount}"
                    )
                complete_chunk(self._connection, chunk, writer.last_key, writer.rows, writer.bytes)
        except psycopg.Error as error:
            raise translate(error, f"loading {self._plan.target}") from error


@contextmanager
def _nothing_altered(connection: SinkConnection, plan: TablePlan) -> Iterator[None]:
    """Raise DataError where PostGIS says that it changed a geography: a longitude beyond 180 degrees is turned back."""
    if not any(base_type(column.sink_type) == "geography" for column in plan.columns):
        yield
        return
    said: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        said.append(notice.message_primary or "")

    connection.execute("SET LOCAL client_min_messages = notice")
    connection.add_notice_handler(hear)
    try:
        yield
    finally:
        connection.remove_notice_handler(hear)
    if said:
        remedy = "take the column out of `types`: it becomes bytea"
        raise DataError(f"{plan.source}: PostGIS would change a geography ({said[0]})", remedy)
