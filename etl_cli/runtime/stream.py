"""Copies a part of a task: rows from the shard to their destination, chunk by chunk.

A stream is a plain loop - read a batch, encode it, send it - in one thread. Both servers work ahead
while it encodes: the source fills the socket's buffer, the sink empties it. So one batch at a time is
in memory, and no reader thread competes for the interpreter's lock with the encoder.

What is committed is known from the ledger alone. So a first try, another try of a chunk that failed, and
another attempt of a run that was killed all begin alike: after the last committed key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

import pyarrow as pa
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from etl_cli.runtime.chunk_watermark import ChunkWatermark
from etl_cli.runtime.errors import EtlError, SinkError, SourceError
from etl_cli.runtime.extract import BatchReader, Cursor, open_cursor
from etl_cli.runtime.job import CancelledError, Job, Result, Watcher
from etl_cli.runtime.kept import Connections
from etl_cli.runtime.ledger.chunks import ChunkId, Committed, Held, committed
from etl_cli.runtime.ledger.chunks import is_transient as is_transient_in_sink
from etl_cli.runtime.load import ChunkLoader
from etl_cli.runtime.own.writers import Writers
from etl_cli.runtime.patience import patience
from etl_cli.runtime.program.hooks import BATCH_HOOKS, Hook, Hooks
from etl_cli.runtime.program.importing import declared_in
from etl_cli.runtime.program.passage import Passage
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, name_session
from etl_cli.runtime.sink.destination import OPERATION
from etl_cli.runtime.source.bounds import refuse_expired
from etl_cli.runtime.source.errors import is_transient as is_transient_in_source
from etl_cli.runtime.source.position import columns_of, needs_text, text_of_value
from etl_cli.runtime.source.scan import position_column, select_oldest_version
from etl_cli.runtime.source.surrogates import SurrogateCheck
from etl_cli.runtime.stopwatch import Stopwatch
from etl_cli.runtime.throttle import Throttle
from etl_cli.runtime.transform import BatchEncoder, constants_of
from etl_cli.runtime.validation import Before, StreamValidation
from etl_cli.runtime.window import Window

_ALL = 2**31 - 1
_LONGEST_WAIT_S = 60.0


def copy_stream(job: Job, watcher: Watcher, connections: Connections) -> Result:
    """Copy the stream's window to its destination, over the kept connections.

    Raises SourceError, SinkError, DataError, CancelledError; chunks committed by then stay, the rest is
    rolled back. A chunk that fails for a passing reason is tried again, `connection.retries` times.
    """
    stream = _Stream(job, watcher, connections)
    try:
        while not stream.ended:
            _tries(job, watcher)(stream.load_next_chunk)
        return stream.result()
    finally:
        stream.close()


def _tries(job: Job, watcher: Watcher) -> Retrying:
    """Tries of one chunk; each chunk has its own."""
    delay = job.shard.retries.retry_delay

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, EtlError) and state.next_action is not None:
            watcher.retrying(error, state.next_action.sleep)

    return Retrying(
        stop=stop_after_attempt(1 + job.shard.retries.retries),
        wait=wait_exponential_jitter(initial=delay, max=_LONGEST_WAIT_S, jitter=delay),
        retry=retry_if_exception(_is_transient),
        before_sleep=tell,
        reraise=True,
    )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, SourceError):
        return is_transient_in_source(error)
    return isinstance(error, SinkError) and is_transient_in_sink(error)


class _Stream:
    """One stream; `load_next_chunk` begins anew from the ledger whenever it has failed."""

    def __init__(self, job: Job, watcher: Watcher, connections: Connections) -> None:
        self._job = job
        self._plan = job.plan.reading
        self._passage = _passage_of(job)
        self._hooks = _hooks_of(job, watcher)
        self._writers = _writers_of(job)
        self._watcher = watcher
        self._connections = connections
        self._surrogates = SurrogateCheck(job.shard, job.plan)
        self._stopwatch = Stopwatch()
        self._validation = StreamValidation(job, self._stopwatch)
        self._throttle = Throttle(job.max_rows_per_s)
        self._open = ExitStack()
        self._part: _Part | None = None
        self._committed = Committed()
        self._parts = 0
        self._watermark = ChunkWatermark(job)
        self._encoder = BatchEncoder(
            job.plan,
            job.shard.name,
            self._surrogates.first_bad,
            constants_of(job.plan, job.shard.name, job.task.run_id),
            OPERATION if job.destination.how == "changes" else None,
        )
        self.ended = False

    def close(self) -> None:
        """Give back what is open."""
        self._surrogates.close()
        self._open.close()

    def load_next_chunk(self) -> None:
        """Load one more chunk, or find that there is none and validate."""
        try:
            if self._part is None:
                with self._patience():
                    part = self._part = self._begin()
                    batch = None if part is None else self._read(part, self._room(0, 0))
            else:
                part, batch = self._part, self._read(self._part, self._room(0, 0))
            if part is not None and batch is not None:
                self._load(part, batch)
                return
            if part is not None:
                with self._patience():
                    held = self._committed.held
                    self._validation.validate(part.cursor, part.sink, part.before, part.read, held, parts=self._parts)
            self.ended = True
            self._open.close()
        except BaseException as error:
            self._part = None
            self._open.__exit__(type(error), error, error.__traceback__)
            self._open = ExitStack()
            raise

    def result(self) -> Result:
        """What there is to tell at the end."""
        validation, so_far = self._validation, self._committed
        moved = self._stopwatch.moved(so_far.held)
        notes = (*validation.notes, *self._notes())
        return Result(moved, validation.counted, notes, validation.checksums, so_far.last_key)

    def _notes(self) -> Iterator[str]:
        if self._parts > 1:
            yield f"read in {self._parts} parts, each as of its own beginning"
        stripped = ", ".join(f"{column} {count}" for column, count in self._encoder.findings.stripped.items())
        if stripped:
            yield f"U+0000 was stripped from values of: {stripped}"
        if self._passage is not None and self._passage.note:
            yield self._passage.note
        held = self._committed.held
        passed_over = held.rows - held.counts.inserted
        if self._job.destination.how == "insert" and passed_over and not self._plan.lookback:
            yield f"{passed_over} rows were there already and stay as they are; mode upsert would update them"

    def _patience(self) -> AbstractContextManager[None]:
        return patience(self._job.shard, lambda: self._watcher.moved(self._stopwatch.moved(self._committed.held)))

    def _begin(self) -> _Part | None:
        """Open both sides, to go on after the last committed key; None where nothing is left to read."""
        job = self._job
        sink = self._open.enter_context(self._sink())
        loader = ChunkLoader(sink, job.plan, job.destination, self._encoder, self._stopwatch.encoding)
        self._committed = so_far = committed(sink, job.task, job.stream)
        if so_far.chunks and not self._plan.key:
            with open_cursor(self._connections.source, job.shard, self._plan, job.isolation) as cursor:
                self._validation.count_again(cursor, so_far.held.rows_read)
            return None  # without a key there is one chunk, and it is there
        if so_far.chunks:
            self._watermark.find(sink)
        self._writers.begin(so_far.written)
        self._parts = max(self._parts, 1 if so_far.chunks else 0) + 1
        cursor = self._open.enter_context(open_cursor(self._connections.source, job.shard, self._plan, job.isolation))
        before = self._ask(cursor)
        with self._stopwatch.reading():
            cursor.scan(before.window)
        return _Part(sink, loader, cursor, BatchReader(cursor, self._plan), before)

    def _sink(self) -> AbstractContextManager[SinkConnection]:
        sink, name = self._job.sink, self._job.application
        return self._connections.sink.use(
            sink.address, lambda: connect_sink(sink, name), lambda c: name_session(c, name)
        )

    def _ask(self, cursor: Cursor) -> Before:
        """What the source says of what is left to read. Raises SourceError, PlanError for changes no longer kept."""
        window = _after(self._job.window, self._committed)
        if window.since is not None:
            oldest = cursor.ask(select_oldest_version(self._plan))[0]
            refuse_expired(self._plan, self._job.shard.name, window.since, oldest)
        rows = self._validation.count(cursor, window)
        if rows is not None:
            self._watcher.expect(rows + self._committed.held.rows_read)
        return Before(window, rows, self._validation.sums_before(cursor))

    def _load(self, part: _Part, batch: pa.RecordBatch | None) -> None:
        """Load one chunk that begins with `batch`."""
        so_far = self._committed
        after_key = json.dumps(so_far.last_key) if so_far.last_key else ""
        chunk = ChunkId(self._job.task, self._job.stream, after_key, so_far.chunks)
        with self._stopwatch.loading(), part.loader.chunk(chunk, self._job.attempt, self._watermark.settle) as writer:
            while batch is not None:
                with self._stopwatch.encoding():
                    came, rejects = self._passage.apply(batch) if self._passage else (batch, ())
                sent, began = writer.bytes, time.perf_counter()
                self._heard("on_batch", came.num_rows)
                writer.add(came, self._last_key(batch), read=batch.num_rows, rejects=rejects)
                writer.written = self._writers.write(came)
                self._heard("on_write", came.num_rows, writer.bytes - sent, time.perf_counter() - began)
                part.read += batch.num_rows
                self._watcher.moved(self._stopwatch.moved(so_far.held + writer.held))
                batch = self._next(part, writer.held)
        position = tuple(json.loads(writer.last_key)) if writer.last_key else ()
        self._committed = Committed(so_far.chunks + 1, position, so_far.held + writer.held)
        self._watermark.committed(position)
        self._watcher.moved(self._stopwatch.moved(self._committed.held))

    def _room(self, rows: int, size: int) -> int:
        """How many further rows the chunk takes."""
        if not self._plan.key:
            return _ALL  # a place among rows without a key cannot be found again: they are one chunk
        return 0 if size >= self._plan.chunk_bytes else self._plan.chunk_rows - rows

    def _next(self, part: _Part, held: Held) -> pa.RecordBatch | None:
        """The chunk's next batch; None where the chunk is full or the rows have ended."""
        room = self._room(held.rows_read, held.bytes)
        return self._read(part, room) if room > 0 else None

    def _read(self, part: _Part, limit: int) -> pa.RecordBatch | None:
        if self._watcher.is_cancelled():
            raise CancelledError(f"{self._plan.source} of {self._job.shard.name} was cancelled")
        began = time.perf_counter()
        with self._stopwatch.reading():
            batch = part.reader.read(min(limit, self._throttle.most_rows))
            self._throttle.wait(batch.num_rows if batch is not None else 0)
        if batch is not None:
            self._heard("on_read", batch.num_rows, batch.nbytes, time.perf_counter() - began)
        return batch

    def _heard(self, name: Hook, rows: int, size: int | None = None, seconds: float | None = None) -> None:
        if self._hooks is not None:
            table, shard = self._plan.source, self._job.shard.name
            self._hooks.call(name, table=table, shard=shard, rows=rows, bytes=size, seconds=seconds)

    def _last_key(self, batch: pa.RecordBatch) -> str | None:
        if not self._plan.order:
            return None
        texts = []
        for number, column in enumerate(columns_of(self._plan)):
            if needs_text(column):
                texts.append(batch.column(position_column(number))[-1].as_py())
            else:
                texts.append(text_of_value(column, batch.column(column.source)[-1].as_py()))
        return json.dumps(texts)


@dataclass
class _Part:
    """An uninterrupted read from the last committed key on, with what belongs to it."""

    sink: SinkConnection
    loader: ChunkLoader
    cursor: Cursor
    reader: BatchReader
    before: Before
    read: int = 0


def _passage_of(job: Job) -> Passage | None:
    """The way through etl.py, for a table that it changes."""
    if job.program is None or not job.plan.reads:
        return None
    return Passage(job.program, job.plan, job.shard.name)


def _writers_of(job: Job) -> Writers:
    """The own writers of etl.py that take the table's rows."""
    columns = [column.source for column in job.plan.columns]
    declared = [] if job.program is None else declared_in(job.program).writers_of(job.plan.source)
    return Writers(declared, job.task, job.stream, columns)


def _hooks_of(job: Job, watcher: Watcher) -> Hooks | None:
    """Those of batches, where etl.py has some."""
    if job.program is None:
        return None
    hooks = Hooks(declared_in(job.program), job.pipeline, job.task.run_id, watcher.said)
    return hooks if hooks.wants(*BATCH_HOOKS) else None


def _after(window: Window, so_far: Committed) -> Window:
    """What is left of the window."""
    return replace(window, after=so_far.last_key) if so_far.last_key else window
