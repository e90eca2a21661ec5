"""Copies tables within a run: what every stream reads is fixed, streams run, tables become visible."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as CancelledFutureError
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import psycopg

from etl_cli.runtime.errors import EtlError, InvalidError
from etl_cli.runtime.events import Done, Failed
from etl_cli.runtime.job import Job
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.outcome import TableOutcome
from etl_cli.runtime.planning import ResolvedTable, shards_of, sink_of
from etl_cli.runtime.progress import Moved, TaskProgress
from etl_cli.runtime.recorder import Recorder
from etl_cli.runtime.run_context import RunContext
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, translate
from etl_cli.runtime.source.bounds import Bounds
from etl_cli.runtime.source.connect import Shard, connect_odbc
from etl_cli.runtime.table_run import TableRun
from etl_cli.runtime.task_run import TaskRun
from etl_cli.runtime.windows import Fixed, fix_windows, from_ledger
from etl_cli.runtime.workers import Pool


class Copying:
    """The tables of one run; `copy` may be called for some of them at a time, one call after the other."""

    def __init__(self, context: RunContext) -> None:
        self._config = context.config
        self._request = context.request
        self._resolved = context.resolved
        self._ledger = context.ledger
        self._connection = context.connection
        self._progress = context.progress
        self._facts = context.facts
        self._past = context.past
        self._marks = context.marks
        self._recorder = Recorder(context.ledger, context.progress, context.hooks)
        self._tables: list[TableRun] = []
        self._done: list[TableRun] = []
        self._phase_began = time.monotonic()
        self._applying: SinkConnection | None = None
        self._pool: Pool | None = None
        self._is_cancelled = False
        self.errors = self._recorder.errors
        self.seconds = {"start": 0.0, "copy": 0.0, "apply": 0.0}

    def copy(self, sources: Collection[str] | None = None) -> bool:
        """Copy these source tables (None = all that there are); whether all of it is done. Errors are kept."""
        before = len(self.errors)
        self._phase_began = time.monotonic()
        tables = [table for table in self._resolved.tables if sources is None or table.plan.source in sources]
        try:
            self._plan_tables(tables)
            self._copy_all()
        except EtlError as error:
            self.errors.append(error)
        except psycopg.Error as error:
            self.errors.append(translate(error, "writing the ledger"))
        finally:
            self._done += self._tables
            self._tables = []
        return len(self.errors) == before and not self._is_cancelled

    def cancel(self) -> None:
        """Stop the copy that is under way, from another thread."""
        self._is_cancelled = True
        if self._pool is not None:
            self._pool.cancel()

    def outcomes(self) -> list[TableOutcome]:
        """How each table ended."""
        return [
            TableOutcome(t.plan.source, t.plan.target, t.plan.mode, t.published, t.notes, self._merged(t))
            for t in self._done
        ]

    def tidy(self) -> None:
        """Remove what was loaded beside targets and is needed no more."""
        for table in self._done:
            with contextlib.suppress(psycopg.Error):
                table.tidy(self._connection)

    def _plan_tables(self, resolved: Sequence[ResolvedTable]) -> None:
        """Fix what every stream reads: from the ledger where the run goes on, else by asking the shards."""
        self._progress.enter("reading bounds")
        fixed = self._fixed_windows(resolved)
        for table in resolved:
            tasks = {shard: self._task(table, shard, fixed) for shard in self._resolved.shards}
            past = [self._past[key] for shard in tasks if (key := (table.plan.source, shard)) in self._past]
            beside = next((task.shadow for task in past if task.shadow), None)
            number = self._resolved.tables.index(table)
            self._tables.append(TableRun(table, self._facts, tasks, number, beside))
        new = [task for table in self._tables for task in table.new_tasks()]
        self._ledger.add_tasks([task for task in new if (task.task.source_table, task.task.shard) not in self._past])

    def _task(self, table: ResolvedTable, shard: str, fixed: Mapping[tuple[str, str], Fixed]) -> TaskRun:
        key = (table.plan.source, shard)
        task = TaskRun(
            TaskId(self._facts.run_id, *key),
            fixed[key],
            self._resolved.isolation(shard, self._config.source.isolation),
            mark=self._marks.get(key),
        )
        past = self._past.get(key)
        if past is not None and past.state in ("loaded", "applied"):
            task.state, task.rows, task.checksums = past.state, past.totals.rows_read, past.checksums
        return task

    def _fixed_windows(self, tables: Sequence[ResolvedTable]) -> dict[tuple[str, str], Fixed]:
        names = {table.plan.source for table in tables}
        known = {key: from_ledger(task.windows) for key, task in self._past.items() if key[0] in names}
        unknown = [table for table in tables if any((table.plan.source, s) not in known for s in self._resolved.shards)]
        if not unknown:
            return known
        shards = [shard for shard in shards_of(self._config) if shard.name in self._resolved.shards]
        with ThreadPoolExecutor(max_workers=len(shards)) as threads:
            answers = list(threads.map(lambda shard: self._windows_of_shard(shard, unknown), shards))
        return {key: fixed for answer in answers for key, fixed in answer.items()} | known

    def _windows_of_shard(self, shard: Shard, tables: Sequence[ResolvedTable]) -> dict[tuple[str, str], Fixed]:
        streams = self._facts.streams
        asks = streams > 1 or any(table.plan.cursor or table.plan.mode == "changes" or table.loading.initial
                                  for table in tables)  # fmt: skip
        if not asks:
            everything = Fixed.everything()
            return {(table.plan.source, shard.name): everything for table in tables}
        with contextlib.closing(connect_odbc(shard)) as connection:
            bounds = Bounds(connection, shard)
            fixed = {}
            for table in tables:
                key = (table.plan.source, shard.name)
                mark = self._marks.get(key)
                asked = fix_windows(bounds, table.loading, mark, self._request, streams=streams)
                fixed[key] = replace(asked, before=mark.position if mark else None)
            return fixed

    def _copy_all(self) -> None:
        self._announce()
        self._progress.enter("starting")
        for table in self._tables:
            table.prepare(self._connection)
        with self._appliers() as appliers, self._workers() as pool:
            applied: list[Future[TableRun]] = []
            for table in self._tables:
                self._end_what_is_done(table, appliers, applied)
            self._follow(pool, appliers, applied)
            self._phase_ends("copy")
            self._progress.enter("making visible")
            visible = [self._applied(future) for future in applied]
            self._phase_ends("apply")
            for shown in filter(None, visible):
                with contextlib.suppress(psycopg.Error):
                    shown.analyze(self._connection)

    def _announce(self) -> None:
        tasks = []
        for table in self._tables:
            for shard in table.tasks:
                estimate = None if table.plan.incremental else table.plan.row_estimates.get(shard)
                tasks.append(TaskProgress(table.plan.source, shard, estimate))
        self._progress.add(tasks)
        for task in tasks:
            past = self._past.get((task.table, task.shard))
            if past is not None and past.state in ("loaded", "applied"):
                moved = Moved(past.totals.rows_read, past.totals.rows_loaded, past.totals.bytes)
                self._progress.moved(task.table, task.shard, moved)
                self._progress.state(task.table, task.shard, "loaded" if past.state == "loaded" else "applied")

    def _end_what_is_done(self, table: TableRun, appliers: ThreadPoolExecutor, applied: list[Future[TableRun]]) -> None:
        """Tasks with nothing to read end at once, and so may a table that an earlier attempt has loaded."""
        for task in table.tasks.values():
            if task.state == "queued" and task.is_done:
                self._ended(table, task)
        if all(task.state == "loaded" for task in table.tasks.values()) and table.is_shadowed:
            applied.append(appliers.submit(self._apply, table))

    def _follow(self, pool: Pool, appliers: ThreadPoolExecutor, applied: list[Future[TableRun]]) -> None:
        """Run the jobs; each table is made visible as soon as its last shard is loaded.

        The first error ends the rest, or with `on_shard_failure: continue` only its own task.
        """
        tables = {table.plan.source: table for table in self._tables}
        for event in pool.run(self._jobs()):
            if self._progress.phase != "copying":
                self._phase_ends("start")
                self._progress.enter("copying")
            self._recorder.tell(event)
            table = tables[event.job.task.source_table]
            if isinstance(event, Failed | Done):
                table.stream_ended()
            if isinstance(event, Failed):
                table.tasks[event.job.task.shard].failed = True
                if self._config.error_handling.on_shard_failure == "fail":
                    pool.cancel()
                elif not event.cancelled:
                    pool.cancel(event.job.task)
            if isinstance(event, Done):
                task = table.stream_done(event.job.task.shard, event.job.stream, event.result)
                if task is not None and not task.failed:
                    self._ended(table, task)
            if isinstance(event, Failed | Done) and self._can_be_applied(table, pool):
                applied.append(appliers.submit(self._apply, table))
            failed = any(future.done() and future.exception() is not None for future in applied)
            if failed and self._config.error_handling.on_shard_failure == "fail":
                pool.cancel()

    def _can_be_applied(self, table: TableRun, pool: Pool) -> bool:
        if not table.is_shadowed or not table.is_complete or not table.complete_shards or pool.is_cancelled:
            return False
        return not self.errors or self._config.error_handling.on_shard_failure == "continue"

    def _ended(self, table: TableRun, task: TaskRun) -> None:
        if not table.is_shadowed:
            with self._connection.transaction():
                table.finish_incremental(self._connection, task)
                self._recorder.ended(table, task)
        else:
            self._recorder.ended(table, task)

    def _apply(self, table: TableRun) -> TableRun:
        """Make one table visible, on a connection of its own: streams of other tables go on."""
        with connect_sink(sink_of(self._config), self._facts.application) as connection:
            self._applying = connection
            try:
                table.publish(connection)
            finally:
                self._applying = None
        for shard in table.complete_shards:
            self._progress.state(table.plan.source, shard, "applied")
        return table

    def _applied(self, future: Future[TableRun]) -> TableRun | None:
        """The table that is visible now; None where that failed, which is kept as an error."""
        try:
            return future.result()
        except EtlError as error:
            self.errors.append(error)
            if isinstance(error, InvalidError):
                self._ledger.forbid_resumption(self._facts.run_id)
        except psycopg.Error as error:
            self.errors.append(translate(error, "making a table visible"))
        except CancelledFutureError:
            pass
        return None

    @contextlib.contextmanager
    def _appliers(self) -> Iterator[ThreadPoolExecutor]:
        """Makes tables visible one after the other; what has not begun when the run is stopped is left out."""
        threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="apply")
        try:
            yield threads
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            if (applying := self._applying) is not None:
                with contextlib.suppress(psycopg.Error):
                    applying.cancel_safe(timeout=5)
            raise
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _jobs(self) -> list[Job]:
        shards, sink = shards_of(self._config), sink_of(self._config)
        return [job for table in self._tables for job in table.jobs(shards, sink)]

    def _phase_ends(self, phase: str) -> None:
        now = time.monotonic()
        self.seconds[phase] += now - self._phase_began
        self._phase_began = now

    @contextlib.contextmanager
    def _workers(self) -> Iterator[Pool]:
        config = self._config
        # three of the sink's connections are the run's own: the ledger's, the heartbeat's, and that which publishes
        streams = min(config.parallelism.shards * config.parallelism.streams_per_shard, config.sink.max_connections - 3)
        per_shard = min(config.parallelism.streams_per_shard, config.source.max_connections)
        self._pool = Pool(max(1, streams), per_shard, config.stop_grace)
        if self._is_cancelled:
            self._pool.cancel()
        try:
            yield self._pool
        finally:
            self._pool.close()

    def _merged(self, table: TableRun) -> Moved | None:
        """What the chunks of a table have changed in its target, where they were visible at once."""
        if table.is_shadowed:
            return None
        tasks = [self._progress.tasks.get((table.plan.source, shard)) for shard in table.tasks]
        moved = sum((task.moved for task in tasks if task is not None), Moved())
        if table.resolved.loading.how == "append":  # copied into the target as they are: all of them are new
            return replace(moved, rows_inserted=moved.rows_loaded)
        return moved
