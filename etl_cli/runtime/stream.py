"""Copies one task: its rows from the shard into the shadow, chunk by chunk.

A stream is a plain loop - read a batch, encode it, send it - in one thread. Both servers work ahead
while it encodes: the source fills the socket's buffer, the sink empties it. So one batch at a time is
in memory, and no reader thread competes for the interpreter's lock with the encoder.
"""

from __future__ import annotations

import json
import time
from contextlib import closing

import pyarrow as pa

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.extract import BatchReader, Cursor, open_cursor
from etl_cli.runtime.job import SNAPSHOT, CancelledError, Job, Result, Watcher
from etl_cli.runtime.kept import Connections
from etl_cli.runtime.ledger.chunks import ChunkId
from etl_cli.runtime.load import ChunkLoader, ChunkWriter
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.sink.connect import connect_sink, name_session
from etl_cli.runtime.source.surrogates import SurrogateCheck
from etl_cli.runtime.transform import BatchEncoder


def copy_task(job: Job, watcher: Watcher, connections: Connections) -> Result:
    """Copy the task's rows into its shadow, over the kept connections.

    Raises SourceError, SinkError, DataError, CancelledError; chunks committed by then stay in the
    shadow, the rest is rolled back.
    """
    with (
        connections.sink.use(
            job.sink.address,
            lambda: connect_sink(job.sink, job.application),
            lambda c: name_session(c, job.application),
        ) as sink,
        open_cursor(connections.source, job.shard, job.plan, job.isolation) as cursor,
        closing(_Stream(job, watcher, cursor, ChunkLoader(sink, job.plan, job.shadow))) as stream,
    ):
        return stream.copy()


class _Stream:
    def __init__(self, job: Job, watcher: Watcher, cursor: Cursor, loader: ChunkLoader) -> None:
        self._job = job
        self._plan = job.plan
        self._watcher = watcher
        self._cursor = cursor
        self._loader = loader
        self._surrogates = SurrogateCheck(job.shard, job.plan)
        self._encoder = BatchEncoder(job.plan, job.shard.name, self._surrogates.first_bad)
        self._clock = _Clock()
        self._moved = Moved()

    def close(self) -> None:
        self._surrogates.close()

    def copy(self) -> Result:
        before = self._count()
        if before is not None:
            self._watcher.expect(before)
        with self._clock.reading():
            self._cursor.scan()
        reader = BatchReader(self._cursor, self._plan)
        after_key = ""
        while (batch := self._read(reader, self._plan.chunk_rows)) is not None:
            after_key = self._load_chunk(reader, batch, after_key) or ""
        counted, note = self._validated(before)
        told = "; ".join(filter(None, [note, self._stripped()])) or None
        srids = {column: frozenset(found) for column, found in self._encoder.findings.srids.items()}
        return Result(self._told(), counted, told, srids)

    def _load_chunk(self, reader: BatchReader, batch: pa.RecordBatch | None, after_key: str) -> str | None:
        """Load one chunk that begins with `batch`; its last key."""
        chunk = ChunkId(self._job.task, self._job.stream, after_key)
        self._encoder.begin()
        with self._clock.loading(), self._loader.chunk(chunk, self._job.attempt) as writer:
            while batch is not None:
                self._send(writer, batch)
                batch = self._next(reader, writer)
            rest = self._encoder.finish()
            writer.end(rest)
        self._moved = self._clock.add_to(self._moved, loaded=writer.rows, size=len(rest))
        self._watcher.moved(self._moved)
        return writer.last_key

    def _send(self, writer: ChunkWriter, batch: pa.RecordBatch) -> None:
        with self._clock.encoding():
            data = self._encoder.encode(batch)
        writer.write(data, batch.num_rows, self._last_key(batch))
        self._moved = self._clock.add_to(self._moved, read=batch.num_rows, size=len(data))
        self._watcher.moved(self._moved)

    def _next(self, reader: BatchReader, writer: ChunkWriter) -> pa.RecordBatch | None:
        """The chunk's next batch; None where the chunk is full or the rows have ended."""
        if not self._plan.order:
            return self._read(reader, 2**31 - 1)  # without a key there is one chunk
        room = self._plan.chunk_rows - writer.rows
        if room <= 0 or writer.bytes >= self._plan.chunk_bytes:
            return None
        return self._read(reader, room)

    def _read(self, reader: BatchReader, limit: int) -> pa.RecordBatch | None:
        if self._watcher.is_cancelled():
            raise CancelledError(f"{self._plan.source} of {self._job.shard.name} was cancelled")
        with self._clock.reading():
            return reader.read(limit)

    def _last_key(self, batch: pa.RecordBatch) -> str | None:
        if not self._plan.order:
            return None
        return json.dumps([str(batch.column(name)[-1].as_py()) for name in self._plan.order])

    def _count(self) -> int | None:
        if self._plan.validate == "none":
            return None
        with self._clock.reading():
            return self._cursor.count()

    def _validated(self, before: int | None) -> tuple[int | None, str | None]:
        """Compare what was read with what the source counted.

        In one snapshot both must be equal. Otherwise the source is asked again: a count that has
        changed proves a writer, one that has not proves a loss.
        """
        read = self._moved.rows_read
        if before is None or before == read:
            return before, None
        after = before if self._job.isolation == SNAPSHOT else self._count()
        if after != before:
            return None, f"the source was written meanwhile ({before} rows before, {after} after, {read} read)"
        raise DataError(
            f"{self._plan.source} of {self._job.shard.name}: the source counts {before} rows, {read} were read",
            "nothing was made visible; run again, and look at the source if it happens twice",
        )

    def _stripped(self) -> str | None:
        """How many values lost their U+0000, by column."""
        stripped = self._encoder.findings.stripped
        told = ", ".join(f"{column} {count}" for column, count in stripped.items())
        return f"U+0000 was stripped from values of: {told}" if told else None

    def _told(self) -> Moved:
        self._moved = self._clock.add_to(self._moved)
        return self._moved


class _Clock:
    """Where a stream's time goes. Loading is what a chunk takes beside reading and encoding."""

    def __init__(self) -> None:
        self._spent = {"read": 0.0, "encode": 0.0, "load": 0.0}
        self._stack: list[str] = []
        self._since = 0.0

    def reading(self) -> _Clock:
        return self._push("read")

    def encoding(self) -> _Clock:
        return self._push("encode")

    def loading(self) -> _Clock:
        return self._push("load")

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._switch()
        self._stack.pop()

    def add_to(self, moved: Moved, *, read: int = 0, loaded: int = 0, size: int = 0) -> Moved:
        """`moved` with further rows and bytes, and the time spent since the start."""
        self._switch()
        return Moved(
            moved.rows_read + read,
            moved.rows_loaded + loaded,
            moved.bytes + size,
            self._spent["read"],
            self._spent["encode"],
            self._spent["load"],
        )

    def _push(self, what: str) -> _Clock:
        self._switch()
        self._stack.append(what)
        return self

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self._spent[self._stack[-1]] += now - self._since
        self._since = now
