"""Loads a chunk: its rows, what they change in the target, its ledger row and the watermark, in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from etl_cli.runtime.checksums import Sums, as_sums, can_be_summed, select_sink
from etl_cli.runtime.errors import DataError
from etl_cli.runtime.ledger.chunks import ChunkId, Held, begin_chunk, complete_chunk
from etl_cli.runtime.ledger.rejects import Reject, record_rejects
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.connect import SinkConnection, translate
from etl_cli.runtime.sink.destination import Destination
from etl_cli.runtime.sink.merge import Counts
from etl_cli.runtime.sink.srids import record_srids
from etl_cli.runtime.transform import BadRowError, BatchEncoder, key_of
from etl_cli.runtime.type_map import base_type

Encoding = Callable[[], AbstractContextManager[None]]
Settled = Callable[[SinkConnection, str | None], None]


class ChunkWriter:
    """Sends batches in one COPY; any bad row fails the chunk."""

    def __init__(
        self, plan: TablePlan, connection: SinkConnection, statement: str, encoder: BatchEncoder, encoding: Encoding
    ) -> None:
        self._plan = plan
        self._connection = connection
        self._statement = statement
        self._encoder = encoder
        self._encoding = encoding
        self._cursor = connection.cursor()
        self._open = contextlib.ExitStack()
        self._copy: psycopg.Copy | None = None
        self.rows_read = self.rows = self.bytes = 0
        self.counts = Counts()
        self.last_key: str | None = None
        self.rejects: list[Reject] = []
        self.written: dict[str, Any] = {}
        """By own writer of etl.py: what it gave back, which the chunk's ledger row keeps."""

    @property
    def held(self) -> Held:
        """What the chunk holds so far."""
        return Held(self.rows_read, self.rows, self.bytes, len(self.rejects), self.counts)

    def add(
        self,
        batch: pa.RecordBatch,
        last_key: str | None = None,
        read: int | None = None,
        rejects: Sequence[Reject] = (),
    ) -> None:
        """Encode and send a batch that was `read` rows and ends at `last_key`; some of them may be bad already."""
        if batch.num_rows:
            self._send(batch)
        self.rejects += rejects
        self.rows_read += batch.num_rows if read is None else read
        self.last_key = last_key

    def end(self) -> None:
        """Send what the encoder held back, and hear how many rows were stored.

        Raises DataError where Postgres stored another number of rows than was sent.
        """
        if self._copy is None:
            return
        rest = self._encoder.finish()
        self._copy.write(rest)
        self._open.close()
        self._copy = None
        self.bytes += len(rest)
        self._refuse_other_count(self.rows)

    def abandon(self, error: BaseException) -> None:
        """End an open COPY because of `error`."""
        self._open.__exit__(type(error), error, error.__traceback__)

    def _refuse_other_count(self, sent: int) -> None:
        """Completeness is proved by a count, not by silence (trap 1)."""
        if self._cursor.rowcount != sent:
            raise DataError(f"{self._plan.source}: {sent} rows were sent, Postgres stored {self._cursor.rowcount}")

    def _send(self, batch: pa.RecordBatch) -> None:
        if self._copy is None:
            self._encoder.begin()
            self._copy = self._open.enter_context(self._cursor.copy(self._statement))
        with self._encoding():
            data = self._encoder.encode(batch)
        self._copy.write(data)
        self.rows += batch.num_rows
        self.bytes += len(data)


class _RejectingWriter(ChunkWriter):
    """Sends each batch in a COPY and a savepoint of its own, and halves it until a bad row stands alone."""

    def end(self) -> None:
        """Nothing is open between two batches."""

    def _send(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            try:
                data = self._encoded(batch)
                break
            except BadRowError as error:
                self.rejects.append(error.reject)
                kept = [row != error.row for row in range(batch.num_rows)]
                batch = batch.filter(pa.array(kept, pa.bool_()))
        else:
            return
        try:
            self._copy_alone(data, batch.num_rows)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if batch.num_rows == 1:
                said = (error.diag.message_primary or str(error)).replace("etl_staging", self._plan.target_name)
                self.rejects.append(Reject(key_of(self._plan, batch, 0), error.diag.column_name, said))
                return
            half = batch.num_rows // 2
            self._send(batch.slice(0, half))
            self._send(batch.slice(half))

    def _encoded(self, batch: pa.RecordBatch) -> bytes:
        with self._encoding():
            self._encoder.begin()
            return self._encoder.encode(batch) + self._encoder.finish()

    def _copy_alone(self, data: bytes, rows: int) -> None:
        with self._connection.transaction():
            with self._cursor.copy(self._statement) as copy:
                copy.write(data)
            self._refuse_other_count(rows)
        self.rows += rows
        self.bytes += len(data)


class _CountingWriter(ChunkWriter):
    """Sends nothing: the rows go to own writers of etl.py alone, and are counted."""

    def end(self) -> None:
        """Nothing was sent."""

    def _send(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows


class ChunkLoader:
    """Loads the chunks of one stream to their destination, over a connection of its own."""

    def __init__(
        self,
        connection: SinkConnection,
        plan: TablePlan,
        destination: Destination,
        encoder: BatchEncoder,
        encoding: Encoding = nullcontext,
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._destination = destination
        self._encoder = encoder
        self._encoding = encoding
        columns = ", ".join(map(quote_sink, destination.columns(plan)))
        self._statement = f"COPY {destination.quoted} ({columns}) FROM STDIN (FORMAT BINARY)"
        with self._errors():
            destination.prepare(connection, plan)
            # A crash of the server may take the last chunks, but then rows, ledger rows and watermarks
            # together: nothing is said to be there that is not. What makes a shadow visible waits for the disk.
            connection.execute("SET synchronous_commit = off")

    @contextmanager
    def chunk(self, chunk: ChunkId, attempt: int, settled: Settled | None = None) -> Iterator[ChunkWriter]:
        """A transaction that commits the chunk when the block ends, and nothing if it fails.

        `settled` is called within it once the rows are at their place, with the chunk's last key. Raises
        SinkError, and DataError for a row that Postgres refuses and for more rejects than are allowed.
        """
        connection, plan = self._connection, self._plan
        with self._errors(), connection.transaction(), _nothing_altered(connection, plan):
            begin_chunk(connection, chunk, attempt)
            writer = self._writer()
            try:
                yield writer
                writer.end()
            except BaseException as error:
                writer.abandon(error)
                raise
            self._refuse_too_many(chunk, writer.rejects)
            sums = self._sums()
            writer.counts = self._destination.settle(connection, plan, chunk.task.run_id, chunk.task.shard)
            record_srids(connection, plan, self._destination.table, self._encoder.findings.srids)
            if settled is not None:
                settled(connection, writer.last_key)
            complete_chunk(connection, chunk, attempt, writer.last_key, writer.held, sums, writer.written)

    def _sums(self) -> Sums | None:
        """The checksums of what was copied into the staging table; those of a shadow are taken when it is full."""
        if not can_be_summed(self._plan) or not self._destination.is_staged:
            return None
        row = self._connection.execute(sql.SQL(select_sink(self._plan, self._destination.quoted))).fetchone()
        return as_sums(self._plan, row) if row else None

    def _writer(self) -> ChunkWriter:
        if self._destination.how == "none":
            return _CountingWriter(self._plan, self._connection, "", self._encoder, self._encoding)
        kind = _RejectingWriter if self._plan.on_bad_row == "reject" else ChunkWriter
        return kind(self._plan, self._connection, self._statement, self._encoder, self._encoding)

    def _refuse_too_many(self, chunk: ChunkId, rejects: list[Reject]) -> None:
        if not rejects:
            return
        total = record_rejects(self._connection, chunk.task, rejects)
        if total > self._plan.max_rejects:
            raise DataError(
                f"{chunk.task.label}: {total} bad rows, max_rejects is "
                f"{self._plan.max_rejects}; the last: {rejects[-1]}",
                "correct the rows, or raise max_rejects",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            told = translate(error, f"loading {self._plan.target}")
            if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
                # a row that the target refuses is the source's fault, and no better next time
                raise DataError(told.message, told.remedy) from error
            raise told from error


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
