"""Sequences a run: claim, plan, begin or go on, streams, becoming visible, the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as CancelledFutureError
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import psycopg

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import DataError, EtlError, InvalidError, SourceError
from etl_cli.runtime.job import Job
from etl_cli.runtime.ledger.heartbeat import Heartbeat
from etl_cli.runtime.ledger.ledger import Ledger, PastTask, RunTotals, TaskId
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.rescue import claim, drop_leftovers, end_sessions, rescue
from etl_cli.runtime.ledger.watermarks import read_watermarks
from etl_cli.runtime.outcome import Outcome, RunFailedError, TableOutcome
from etl_cli.runtime.planning import Marks, Resolved, ResolvedTable, resolve_or_refuse, shards_of, sink_of
from etl_cli.runtime.progress import Moved, Progress, TaskProgress
from etl_cli.runtime.recorder import Recorder
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.resumption import Beginning, beginning
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, name_session, translate
from etl_cli.runtime.source.bounds import Bounds
from etl_cli.runtime.source.connect import Shard, connect_odbc
from etl_cli.runtime.source.driver import missing_libraries, uses_microsoft_driver
from etl_cli.runtime.table_run import RunFacts, TableRun, TaskRun
from etl_cli.runtime.windows import Fixed, fix_windows, from_ledger
from etl_cli.runtime.workers import Done, Failed, Pool, warm_up


def run_pipeline(config: Config, progress: Progress, request: Request = EVERYTHING) -> Outcome:
    """One run of the configured tables, or of those that are asked for, here and now.

    Raises EtlError for what forbids the run before it begins, RunFailedError for a run that began.
    """
    warm_up()
    began = time.monotonic()
    whole = config
    config = request.of_shards(config)
    progress.enter("connecting")
    _refuse_missing_libraries(config)
    with (
        connect_sink(sink_of(config), f"etl-cli {config.name}") as connection,
        ledger_errors(connection),
        contextlib.ExitStack() as alive,
    ):
        ledger = Ledger(connection)
        ledger.register(config.name, config.id)
        claim(connection, config.name, config.overlap)
        progress.enter("reading catalogues")
        rescued = rescue(connection, config.name)
        marks = read_watermarks(connection, config.name)
        try:
            resolved, errors = resolve_or_refuse(config, connection, request, marks)
            begun = _begun(ledger, connection, config, request, resolved, marks)
        except EtlError as error:
            progress.run_id = ledger.refused_run(config.name, request, str(error))
            raise
        beat = partial(connect_sink, sink_of(config), f"etl-cli {config.name} run {begun.run_id}", attempts=1)
        alive.enter_context(Heartbeat(beat, begun.run_id))
        progress.run_id = begun.run_id
        if begun.how != "resume":
            resolved.notes.extend(f"run {number} had ended without a word" for number in rescued)
        facts = RunFacts(
            run_id=begun.run_id,
            attempt=begun.attempt,
            pipeline=config.name,
            shards=len(whole.source.shards),
            streams=config.parallelism.streams_per_shard,
            by_condition=request.where is not None,
            program=config.directory,
        )
        name_session(connection, facts.application)
        run = _Run(config, request, resolved, ledger, connection, progress, facts, begun.tasks, marks)
        return run.execute(time.monotonic() - began, errors)


def _refuse_missing_libraries(config: Config) -> None:
    missing = missing_libraries() if uses_microsoft_driver(config.source.driver) else []
    if missing:
        raise SourceError("the SQL Server driver wants system libraries", f"apt-get install {' '.join(missing)}")


@dataclass(frozen=True)
class _Begun:
    """A run in state running, and the tasks that it goes on with (none = it begins anew)."""

    run_id: int
    attempt: int
    how: str
    tasks: Mapping[tuple[str, str], PastTask]


def _begun(
    ledger: Ledger, connection: SinkConnection, config: Config, request: Request, resolved: Resolved, marks: Marks
) -> _Begun:
    fingerprint = fingerprint_of(config, resolved)
    decided = beginning(config, request, fingerprint, ledger.last_run(config.name))
    tasks: Mapping[tuple[str, str], PastTask] = {}
    if decided.of is not None:
        tasks = ledger.tasks_of(decided.of.run_id)
        if not _still_fits(connection, resolved, tasks, marks, decided.of.run_id):
            told = f"run {decided.of.run_id} cannot be resumed: what it left in the sink is gone or has changed"
            decided, tasks = Beginning("anew", note=f"{told}; this run starts anew"), {}
    if decided.note:
        resolved.notes.append(decided.note)
    keep = [task.shadow for task in tasks.values() if task.shadow]
    drop_leftovers(connection, config.name, [t.plan.source for t in resolved.tables], keep, config.resume_within)
    if decided.how == "resume" and decided.of is not None:
        end_sessions(connection, decided.of.run_id)
        return _Begun(decided.of.run_id, ledger.resume_run(decided.of.run_id), "resume", tasks)
    run_id = ledger.start_run(config.name, fingerprint, request)
    if decided.how == "retry" and decided.of is not None:
        end_sessions(connection, decided.of.run_id)
        ledger.take_over(decided.of.run_id, run_id)
    return _Begun(run_id, 1, decided.how, tasks)


def fingerprint_of(config: Config, resolved: Resolved) -> str:
    """Of what is read, where from, and what becomes of it: a run is resumed only with its own."""
    source = config.source
    places = [(s.name, s.host, s.port, s.database or source.database) for s in source.shards]
    return hashlib.sha256(json.dumps([resolved.plan.fingerprint, source.driver, places]).encode()).hexdigest()[:16]


def _still_fits(
    connection: SinkConnection,
    resolved: Resolved,
    tasks: Mapping[tuple[str, str], PastTask],
    marks: Marks,
    run_id: int,
) -> bool:
    """Whether shadows, targets and watermarks are as the run left them."""
    for table in resolved.tables:
        for shard in resolved.shards:
            past = tasks.get((table.plan.source, shard))
            if past is None or past.windows is None:
                return False
            mark = marks.get((table.plan.source, shard))
            fixed = from_ledger(past.windows)
            moved_by_chunk = past.chunks > 0 and table.loading.how in ("insert", "append", "merge")
            untouched = (mark.position if mark else None) == fixed.before
            is_own = mark is not None and mark.run_id == run_id
            if not is_own and (not untouched or (moved_by_chunk and len(fixed.windows) == 1)):
                return False
            if table.loading.how != "shadow" and table.target is None:
                return False
            if past.shadow is None or past.state == "applied":
                continue
            schema = past.shadow.partition(".")[0]
            renamed = table.loading.how == "shadow" and table.apply.how != "difference"
            there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [_quoted(past.shadow)]).fetchone()
            if not (there and there[0]) or (renamed and schema != table.plan.target_schema):
                return False
    return True


def _quoted(name: str) -> str:
    schema, _, table = name.partition(".")
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))


class _Run:
    """A run that has begun in the ledger."""

    def __init__(
        self,
        config: Config,
        request: Request,
        resolved: Resolved,
        ledger: Ledger,
        connection: SinkConnection,
        progress: Progress,
        facts: RunFacts,
        past: Mapping[tuple[str, str], PastTask],
        marks: Marks,
    ) -> None:
        self._config = config
        self._request = request
        self._resolved = resolved
        self._ledger = ledger
        self._connection = connection
        self._progress = progress
        self._facts = facts
        self._past = past
        self._marks = marks
        self._recorder = Recorder(ledger, progress)
        self._errors = self._recorder.errors
        self._tables: list[TableRun] = []
        self._seconds = {"plan": 0.0, "start": 0.0, "copy": 0.0, "apply": 0.0}
        self._phase_began = time.monotonic()
        self._applying: SinkConnection | None = None

    def execute(self, planning_s: float, errors: Sequence[EtlError]) -> Outcome:
        """Everything up to the end that is written into the ledger; `errors` are of shards that are left out."""
        self._seconds["plan"] = planning_s
        self._errors.extend(errors)
        state = "failed"
        try:
            self._plan_tables()
            self._copy_all()
            state = "failed" if self._errors else "succeeded"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        except EtlError as error:
            self._errors.append(error)
        except psycopg.Error as error:
            self._errors.append(translate(error, "writing the ledger"))
        finally:
            outcome = self._finished(state)
        if outcome.error is not None:
            raise RunFailedError(outcome.error.message, outcome.error.remedy, outcome) from outcome.error
        return outcome

    def _plan_tables(self) -> None:
        """Fix what every stream reads: from the ledger where the run goes on, else by asking the shards."""
        self._progress.enter("reading bounds")
        fixed = self._fixed_windows()
        for number, table in enumerate(self._resolved.tables):
            tasks = {shard: self._task(table, shard, fixed) for shard in self._resolved.shards}
            past = [self._past[key] for shard in tasks if (key := (table.plan.source, shard)) in self._past]
            beside = next((task.shadow for task in past if task.shadow), None)
            self._tables.append(TableRun(table, self._facts, tasks, number, beside))
        if not self._past:
            self._ledger.add_tasks([new for table in self._tables for new in table.new_tasks()])

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

    def _fixed_windows(self) -> dict[tuple[str, str], Fixed]:
        if self._past:
            return {key: from_ledger(task.windows) for key, task in self._past.items()}
        shards = [shard for shard in shards_of(self._config) if shard.name in self._resolved.shards]
        with ThreadPoolExecutor(max_workers=len(shards)) as threads:
            answers = list(threads.map(self._windows_of_shard, shards))
        return {key: fixed for answer in answers for key, fixed in answer.items()}

    def _windows_of_shard(self, shard: Shard) -> dict[tuple[str, str], Fixed]:
        streams = self._facts.streams
        asks = streams > 1 or any(table.plan.cursor or table.plan.mode == "changes" or table.loading.initial
                                  for table in self._resolved.tables)  # fmt: skip
        if not asks:
            everything = Fixed.everything()
            return {(table.plan.source, shard.name): everything for table in self._resolved.tables}
        with contextlib.closing(connect_odbc(shard)) as connection:
            bounds = Bounds(connection, shard)
            fixed = {}
            for table in self._resolved.tables:
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
        with self._appliers() as appliers, _pool(self._config) as pool:
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
        for (source, shard), past in self._past.items():
            if past.state in ("loaded", "applied"):
                moved = Moved(past.totals.rows_read, past.totals.rows_loaded, past.totals.bytes)
                self._progress.moved(source, shard, moved)
                self._progress.state(source, shard, "loaded" if past.state == "loaded" else "applied")

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
            table = tables[event.job.plan.source]
            if isinstance(event, Failed | Done):
                table.stream_ended()
            if isinstance(event, Failed):
                table.tasks[event.job.shard.name].failed = True
                if self._config.error_handling.on_shard_failure == "fail":
                    pool.cancel()
                elif not event.cancelled:
                    pool.cancel(event.job.task)
            if isinstance(event, Done):
                task = table.stream_done(event.job.shard.name, event.job.stream, event.result)
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
        return not self._errors or self._config.error_handling.on_shard_failure == "continue"

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
            self._errors.append(error)
            if isinstance(error, InvalidError):
                self._ledger.forbid_resumption(self._facts.run_id)
        except psycopg.Error as error:
            self._errors.append(translate(error, "making a table visible"))
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
        self._seconds[phase] += now - self._phase_began
        self._phase_began = now

    def _finished(self, state: str) -> Outcome:
        """Write the end into the ledger; what was loaded beside a target stays for a resumption."""
        error = _one(self._errors)
        if state == "succeeded" or self._request.is_partial:
            for table in self._tables:
                with contextlib.suppress(psycopg.Error):
                    table.tidy(self._connection)
        try:
            ended = self._ledger.finish_run(self._facts.run_id, state, str(error) if error else None)
            totals = ended or RunTotals(0, 0, 0)
            if ended is None:
                error = error or EtlError(f"run {self._facts.run_id} was taken for dead by another", "run again")
                state = "interrupted"
        except psycopg.Error as lost:
            # whatever became visible is recorded with it; the next run finds that this one has ended
            error = error or translate(lost, "writing the end of the run into the ledger")
            totals = RunTotals(0, 0, 0)
        tables = [TableOutcome(t.plan, t.published, t.notes, self._merged(t)) for t in self._tables]
        return Outcome(
            self._facts.run_id,
            state,
            totals,
            tables,
            self._progress,
            self._seconds,
            error,
            self._resolved.notes,
            self._facts.attempt,
        )

    def _merged(self, table: TableRun) -> Moved | None:
        """What the chunks of a table have changed in its target, where they were visible at once."""
        if table.is_shadowed:
            return None
        tasks = [self._progress.tasks.get((table.plan.source, shard)) for shard in table.tasks]
        return sum((task.moved for task in tasks if task is not None), Moved())


@contextlib.contextmanager
def _pool(config: Config) -> Iterator[Pool]:
    # three of the sink's connections are the run's own: the ledger's, the heartbeat's, and that which publishes
    streams = min(config.parallelism.shards * config.parallelism.streams_per_shard, config.sink.max_connections - 3)
    per_shard = min(config.parallelism.streams_per_shard, config.source.max_connections)
    pool = Pool(max(1, streams), per_shard, config.stop_grace)
    try:
        yield pool
    finally:
        pool.close()


def _one(errors: Sequence[EtlError]) -> EtlError | None:
    """All errors of a run as one; each keeps its line."""
    if len(errors) <= 1:
        return errors[0] if errors else None
    lines = list(dict.fromkeys(str(error) for error in errors))
    return DataError(f"{len(lines)} tasks failed\n" + "\n".join(f"  {line}" for line in lines))
