"""Runs one member of an own source: its rows into the sink and to own writers, chunk by chunk.

What is committed is known from the ledger alone: another try, and another attempt of the run, hand the last recorded
position to the function. A source without positions begins anew; then its rows find those of before by their key, or
they are all one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pyarrow as pa

from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import DataError, SinkError
from etl_cli.runtime.job import CancelledError, Result, Watcher
from etl_cli.runtime.kept import Connections
from etl_cli.runtime.ledger.chunks import ChunkId, Held, committed, forget_chunks
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.load import ChunkLoader, ChunkWriter
from etl_cli.runtime.names import fold, quote_sink, quote_text
from etl_cli.runtime.own.columns import Columns
from etl_cli.runtime.own.fitting import Fitting
from etl_cli.runtime.own.inference import types_of_model
from etl_cli.runtime.own.job import ExtractJob
from etl_cli.runtime.own.pages import Gathering, Page, Rows, pages_of
from etl_cli.runtime.own.place import prepare_place, types_there
from etl_cli.runtime.own.plan import plan_of
from etl_cli.runtime.own.reached import PlaceReached
from etl_cli.runtime.own.table import member_column_of
from etl_cli.runtime.own.writers import Writers
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.hooks import BATCH_HOOKS, Hook, Hooks
from etl_cli.runtime.program.importing import declared_in, told_of
from etl_cli.runtime.program.passage import Passage
from etl_cli.runtime.redact import redact, secrets_in
from etl_cli.runtime.sink.connect import SERIALIZATION_FAILURE, SinkConnection, connect_sink, name_session, translate
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.stopwatch import Stopwatch
from etl_cli.runtime.transform import BatchEncoder, constants_of

_MEMBER_CLASS = 0x657470
"""First key of the advisory locks of members at work."""


def extract_member(job: ExtractJob, watcher: Watcher, connections: Connections) -> Result:
    """Run the member from the last recorded position on.

    Raises SourceError where the function fails, SinkError, DataError, PlanError, CancelledError; what is committed
    stays.
    """
    with (
        _sink_errors(job),
        connections.sink.use(
            job.sink.address,
            lambda: connect_sink(job.sink, job.application),
            lambda c: name_session(c, job.application),
        ) as connection,
        _alone(connection, job.task),
    ):
        return _Member(job, watcher, connection).run()


@contextmanager
def _alone(connection: SinkConnection, task: TaskId) -> Iterator[None]:
    """Wait until the session of an earlier try, whose process is dead, has ended: it may be at a commit still.

    After an error the session ends, and the lock with it.
    """
    key = [_MEMBER_CLASS, f"{task.run_id} {task.source_table} {task.shard}"]
    connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", key)
    yield
    connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)


@contextmanager
def _sink_errors(job: ExtractJob) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, f"loading {job.task.label}") from error
    except DataError as error:
        if isinstance(error.__cause__, psycopg.errors.UniqueViolation) and job.members_share_keys:
            # another member has inserted the key meanwhile: the next try finds it there
            raise SinkError(error.message, error.remedy, sqlstate=SERIALIZATION_FAILURE) from error
        raise


class _Member:
    def __init__(self, job: ExtractJob, watcher: Watcher, connection: SinkConnection) -> None:
        declared = declared_in(job.directory)
        config = load_config(job.directory, text=job.config)
        self._job = job
        self._label = job.task.label
        self._watcher = watcher
        self._connection = connection
        self._secrets = secrets_in(config)
        self._source = source = declared.source(job.task.source_table)
        self._changes = declared.of_table(source.name)
        self._writers = Writers(declared.writers_of(source.name), job.task)
        hooks = Hooks(declared, job.pipeline, job.task.run_id, watcher.said)
        self._hooks = hooks if hooks.wants(*BATCH_HOOKS) else None
        known = {**types_of_model(source.model), **source.columns}
        self._columns = Columns(source.name, known, self._hints())
        self._fitting = Fitting(source, self._label, self._columns)
        self._shaped = -1
        self._loader: ChunkLoader | None = None
        self._passage: Passage | None = None
        self._clock = Stopwatch()
        self._open = ExitStack()
        self._writer: ChunkWriter | None = None
        self._batches = 0
        self._notes: list[str] = []
        self._run = Run(
            config,
            job.directory,
            run_id=job.task.run_id,
            step=source.name,
            params=job.params,
            results=job.results,
            tell=self._tell,
        )
        # an API may let an open transaction wait as long as it likes; a client that is gone is noticed by other means
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        so_far = committed(connection, job.task, job.stream)
        self._number, self._held = so_far.chunks, so_far.held
        self._place = PlaceReached(job, source.cursor, self._columns, connection, so_far)
        self._writers.begin(so_far.written)
        begins_anew = so_far.chunks and self._place.position is None and not self._place.is_over
        if begins_anew and source.can_be_emptied and job.shadow is not None:
            self._remove_what_is_there(job.shadow)
        self._may_commit = False
        """Whether another try could go on after what the open chunk holds."""

    def run(self) -> Result:
        """All of it, up to the last commit."""
        if not self._place.is_over:
            try:
                self._read_all()
            except BaseException as error:
                self._open.__exit__(type(error), error, error.__traceback__)
                raise
            finally:
                self._run.sink.close()
        if self._passage is not None and self._passage.note:
            self._notes.append(self._passage.note)
        return Result(self._clock.moved(self._held), None, tuple(self._notes), None, self._place.reached)

    def _read_all(self) -> None:
        gathering = Gathering(self._source.pages)
        for page in self._pages():
            gathering.add(page)
            if gathering.is_full:
                self._add(*gathering.take())
        self._add(*gathering.take())
        if rejects := self._fitting.rejects:
            raise DataError(f"{self._label}: no row could be stored; the last: {rejects[-1]}", "correct the rows")
        self._place.is_over = True
        self._commit()

    def _remove_what_is_there(self, shadow: Shadow) -> None:
        """Another try of a source without positions begins anew, and so does what it has loaded beside the target."""
        column, task = member_column_of(self._source, self._job.names), self._job.task
        where = f" WHERE {quote_sink(column)} = {quote_text(task.shard)}" if column else ""
        with self._connection.transaction():
            execute(self._connection, f"DELETE FROM {shadow.quoted}{where}")
            forget_chunks(self._connection, task)
        self._number, self._held = 0, Held()

    def _pages(self) -> Iterator[Page]:
        job = self._job
        known = {
            **job.params,
            **job.results,
            "run": self._run,
            "params": dict(job.params),
            "watermark": self._place.watermark,
            "position": self._place.position,
            "member": job.member,
        }
        pages = pages_of(
            self._source, known, self._label, lambda error: redact(told_of(error, job.directory), self._secrets)
        )
        while True:
            if self._watcher.is_cancelled():
                raise CancelledError(f"{self._label} was cancelled")
            with self._clock.reading():
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _tell(self, told: Mapping[str, Any]) -> None:
        if "said" in told:
            self._watcher.said(redact(str(told["said"]), self._secrets))
        else:
            self._watcher.advanced(float(told["done"]), told.get("total"))

    # loading

    def _add(self, pieces: list[Rows], last: Page | None) -> None:
        """Load a batch, and commit where that is due."""
        if last is None:
            return
        batches = [self._fitting.batch(rows) for rows in pieces]
        if self._shaped != len(self._columns.types) and self._can_be_shaped(batches):
            self._reshape()
        # only now: what a new column has had committed ends at the position before
        if last.has_position:
            self._place.position = last.position
        if self._loader is None:
            return  # there is no row yet
        for batch in batches:
            self._load(self._columns.completed(batch))
        self._may_commit = last.has_position or self._begins_anew
        self._batches += 1
        if self._may_commit and self._batches >= self._source.batches:
            self._commit()

    @property
    def _begins_anew(self) -> bool:
        """Whether rows without a position may come twice: their key finds the first, or the first are removed."""
        return self._source.is_repeatable and (not self._source.is_shadowed or self._place.position is None)

    def _can_be_shaped(self, batches: list[pa.RecordBatch]) -> bool:
        """Whether there are rows, or all that the table needs is declared."""
        needed = {*self._source.key, *filter(None, [self._source.cursor])}
        return any(b.num_rows for b in batches) or (bool(self._columns.types) and needed <= set(self._columns.types))

    def _load(self, batch: pa.RecordBatch) -> None:
        self._heard("on_read", batch.num_rows, batch.nbytes)
        self._place.see(batch)
        rejects = self._fitting.take_rejects()
        with self._clock.loading():
            writer = self._chunk()
            with self._clock.encoding():
                came, bad = self._passage.apply(batch) if self._passage else (batch, [])
            self._heard("on_batch", came.num_rows)
            sent = writer.bytes
            writer.add(came, self._place.last_key, read=batch.num_rows + len(rejects), rejects=[*rejects, *bad])
            writer.written = self._writers.write(came)
        self._heard("on_write", came.num_rows, writer.bytes - sent)
        self._watcher.moved(self._clock.moved(self._held + writer.held))

    def _reshape(self) -> None:
        """Bring the place that the rows go to into the form of the columns that are known now."""
        if self._writer is not None and not self._may_commit:
            told = ", ".join(list(self._columns.types)[self._shaped :])
            raise DataError(
                f"{self._label}: {told} came after the first rows, which one transaction holds",
                "declare it: columns={...}; or yield a position with each batch",
            )
        self._commit()
        job, source = self._job, self._source
        plan = plan_of(source, self._columns, self._changes, schema=job.schema, names=job.names)
        plan, destination = prepare_place(self._connection, source, plan, job.shadow)
        constants = constants_of(plan, job.task.shard, job.task.run_id)
        encoder = BatchEncoder(plan, job.task.shard, None, constants)
        self._loader = ChunkLoader(self._connection, plan, destination, encoder, self._clock.encoding)
        if self._changes:
            if self._passage is not None and self._passage.note:
                self._notes.append(self._passage.note)
            self._passage = Passage(job.directory, plan, job.task.shard)
        self._shaped = len(self._columns.types)

    def _chunk(self) -> ChunkWriter:
        """The open chunk, or a new one."""
        if self._writer is None:
            assert self._loader is not None
            # its number alone names it: what another try reads after the same position may be another page
            chunk = ChunkId(self._job.task, self._job.stream, json.dumps([self._number]), self._number)
            self._writer = self._open.enter_context(self._loader.chunk(chunk, self._job.attempt, self._place.settled))
        return self._writer

    def _commit(self) -> None:
        self._batches = 0
        if self._writer is None:
            return
        writer = self._writer
        writer.last_key = self._place.last_key
        with self._clock.loading():
            self._open.close()
        self._writer = None
        self._number += 1
        self._held += writer.held
        self._watcher.moved(self._clock.moved(self._held))

    def _hints(self) -> dict[str, str]:
        """The types of the columns that the target has, by name in the sink."""
        job = self._job
        there = types_there(self._connection, job.shadow, self._source.target_name(job.schema))
        return {name: kind for name, kind in there.items() if fold(name, job.names) == name}

    def _heard(self, name: Hook, rows: int, size: int | None = None) -> None:
        if self._hooks is not None:
            self._hooks.call(name, table=self._source.name, shard=self._job.task.shard, rows=rows, bytes=size)
