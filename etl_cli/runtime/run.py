"""Sequences a run: ledger, plan, shadows, streams, becoming visible, the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError as CancelledFutureError
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import DataError, EtlError, SourceError
from etl_cli.runtime.job import Job
from etl_cli.runtime.ledger.ledger import Ledger, RunTotals, TaskId, record_applied
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.rescue import claim, rescue
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.planning import Resolved, resolve_or_refuse, shards_of, sink_of
from etl_cli.runtime.progress import Progress, TaskProgress
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, translate
from etl_cli.runtime.sink.publish import Published, publish
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow, create_shadow, drop_shadow, shadow_of
from etl_cli.runtime.source.driver import missing_libraries, uses_microsoft_driver
from etl_cli.runtime.spatial import with_srids
from etl_cli.runtime.workers import Done, Event, Expected, Failed, Pool, Progressed, Started, warm_up


@dataclass
class TableOutcome:
    """How one table ended."""

    plan: TablePlan
    published: Published | None = None
    notes: list[str] = field(default_factory=list)
    srids: dict[str, set[int]] = field(default_factory=dict)
    """The spatial reference systems of each spatial column, over all shards."""


@dataclass
class Outcome:
    """How a run ended."""

    run_id: int
    state: str
    totals: RunTotals
    tables: list[TableOutcome]
    progress: Progress
    seconds: dict[str, float]
    """Time of each phase: plan, start (workers), copy (first read to all loaded), apply (key built, visible)."""
    error: EtlError | None = None
    notes: list[str] = field(default_factory=list)


class RunFailedError(EtlError):
    """A run that did not succeed; `outcome` says all that is known of it."""

    def __init__(self, message: str, remedy: str, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(message, remedy)


def run_pipeline(config: Config, progress: Progress, *, requested_by: str = "command") -> Outcome:
    """One run of all configured tables, here and now.

    Raises EtlError for what forbids the run before it begins, RunFailedError for a run that began.
    """
    warm_up()
    began = time.monotonic()
    sink = sink_of(config)
    progress.enter("connecting")
    _refuse_missing_libraries(config)
    with connect_sink(sink, f"etl-cli {config.name}") as connection, ledger_errors(connection):
        ledger = Ledger(connection)
        ledger.register(config.name, config.id)
        claim(connection, config.name)
        progress.enter("reading catalogues")
        resolved = resolve_or_refuse(config, connection)
        rescued = rescue(connection, config.name)
        resolved.notes.extend(
            f"run {number} had ended without a word: its leftovers were removed" for number in rescued
        )
        run_id = ledger.start_run(config.name, resolved.plan.fingerprint, requested_by)
        return _Run(config, resolved, ledger, connection, progress, run_id, time.monotonic() - began).execute()


def _refuse_missing_libraries(config: Config) -> None:
    missing = missing_libraries() if uses_microsoft_driver(config.source.driver) else []
    if missing:
        raise SourceError("the SQL Server driver wants system libraries", f"apt-get install {' '.join(missing)}")


class _Run:
    def __init__(
        self,
        config: Config,
        resolved: Resolved,
        ledger: Ledger,
        connection: SinkConnection,
        progress: Progress,
        run_id: int,
        planning_s: float,
    ) -> None:
        self._config = config
        self._resolved = resolved
        self._ledger = ledger
        self._connection = connection
        self._progress = progress
        self._run_id = run_id
        self._application = f"etl-cli {config.name} run {run_id}"
        self._seconds = {"plan": planning_s, "start": 0.0, "copy": 0.0, "apply": 0.0}
        self._phase_began = time.monotonic()
        self._outcomes = [TableOutcome(plan) for plan in resolved.plan.tables]
        self._shadows = [
            shadow_of(plan, apply.how, run_id, number) for number, (plan, apply) in enumerate(resolved.tables)
        ]
        self._errors: list[EtlError] = []
        self._applying: SinkConnection | None = None

    def execute(self) -> Outcome:
        state = "failed"
        try:
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

    def _copy_all(self) -> None:
        self._progress.add(
            TaskProgress(plan.source, shard, plan.row_estimates.get(shard))
            for plan in self._resolved.plan.tables
            for shard in self._resolved.plan.shards
        )
        self._ledger.add_tasks(
            [(job.task, job.plan.target, job.plan.mode) for job in self._jobs()],
        )
        self._progress.enter("starting")
        for plan, shadow in zip(self._resolved.plan.tables, self._shadows, strict=True):
            self._create_shadow(plan, shadow)
        with self._appliers() as appliers, _pool(self._config) as pool:
            applied: list[Future[int]] = []
            self._follow(pool, appliers, applied)
            self._phase_ends("copy")
            self._progress.enter("making visible")
            visible = [number for future in applied if (number := self._applied(future)) is not None]
            self._phase_ends("apply")
            for number in visible:
                self._analyze(number)

    def _applied(self, future: Future[int]) -> int | None:
        """The number of the table that is visible now; None where that failed, which is kept as an error."""
        try:
            return future.result()
        except EtlError as error:
            self._errors.append(error)
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
            if self._applying is not None:
                with contextlib.suppress(psycopg.Error):
                    self._applying.cancel_safe(timeout=5)
            raise
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    def _phase_ends(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[phase] += now - self._phase_began
        self._phase_began = now

    def _follow(self, pool: Pool, appliers: ThreadPoolExecutor, applied: list[Future[int]]) -> None:
        """Run the jobs; each table is made visible as soon as its last shard is loaded.

        The first error ends the rest: nothing more is begun, what is at work stops.
        """
        missing = {plan.source: set(self._resolved.plan.shards) for plan in self._resolved.plan.tables}
        for event in pool.run(self._jobs()):
            if self._progress.phase != "copying":
                self._phase_ends("start")
                self._progress.enter("copying")
            self._tell(event)
            if isinstance(event, Failed):
                if not event.cancelled:
                    self._errors.append(event.error)
                pool.cancel()
            if isinstance(event, Done):
                missing[event.job.plan.source].discard(event.job.shard.name)
                if not missing[event.job.plan.source]:
                    number = self._resolved.plan.tables.index(event.job.plan)
                    applied.append(appliers.submit(self._apply, number))
            if any(future.done() and future.exception() is not None for future in applied):
                pool.cancel()

    def _tell(self, event: Event) -> None:
        table, shard, task = event.job.plan.source, event.job.shard.name, event.job.task
        if isinstance(event, Started):
            self._ledger.task_started(task)
            self._progress.state(table, shard, "running")
        elif isinstance(event, Expected):
            self._progress.expect(table, shard, event.rows)
        elif isinstance(event, Progressed):
            self._progress.moved(table, shard, event.moved)
        elif isinstance(event, Failed):
            self._ledger.task_failed(task, str(event.error), cancelled=event.cancelled)
            self._progress.state(table, shard, "cancelled" if event.cancelled else "failed")
        else:
            moved, result = event.result.moved, event.result
            totals = RunTotals(moved.rows_read, moved.rows_loaded, moved.bytes)
            self._ledger.task_loaded(
                task, totals, counted=result.counted, isolation=event.job.isolation, note=result.note
            )
            self._progress.moved(table, shard, moved)
            self._progress.state(table, shard, "loaded")
            outcome = next(outcome for outcome in self._outcomes if outcome.plan.source == table)
            if result.note:
                outcome.notes.append(f"{shard}: {result.note}")
            for column, srids in result.srids.items():
                outcome.srids.setdefault(column, set()).update(srids)

    def _apply(self, number: int) -> int:
        """Make one table visible, on a connection of its own: streams of other tables go on. Its number."""
        plan, apply = self._resolved.tables[number]
        shadow = self._shadows[number]
        plan = with_srids(plan, self._outcomes[number].srids)
        with connect_sink(sink_of(self._config), self._application) as connection:
            self._applying = connection
            published = publish(connection, plan, shadow, apply, lambda c: record_applied(c, self._run_id, plan.source))
            self._outcomes[number].published = published
            self._applying = None
        for shard in self._resolved.plan.shards:
            self._progress.state(plan.source, shard, "applied")
        return number

    def _analyze(self, number: int) -> None:
        """Give the planner statistics of the new rows; autovacuum would, but only later."""
        plan = self._resolved.plan.tables[number]
        with contextlib.suppress(psycopg.Error):
            execute(self._connection, f"ANALYZE {Shadow(plan.target_schema, plan.target_name).quoted}")

    def _jobs(self) -> list[Job]:
        return [
            Job(
                task=TaskId(self._run_id, plan.source, shard.name),
                shard=shard,
                sink=sink_of(self._config),
                plan=plan,
                shadow=shadow,
                isolation=self._resolved.isolation(shard.name, self._config.source.isolation),
                application=f"{self._application} {plan.source} {shard.name}",
            )
            for plan, shadow in zip(self._resolved.plan.tables, self._shadows, strict=True)
            for shard in shards_of(self._config)
        ]

    def _create_shadow(self, plan: TablePlan, shadow: Shadow) -> None:
        try:
            create_shadow(self._connection, plan, shadow)
        except psycopg.Error as error:
            raise translate(error, f"creating a table beside {plan.target}") from error

    def _finished(self, state: str) -> Outcome:
        """Remove what did not become visible, and write the end into the ledger."""
        error = _one(self._errors)
        if state != "succeeded":
            for outcome, shadow in zip(self._outcomes, self._shadows, strict=True):
                if outcome.published is None:
                    with contextlib.suppress(psycopg.Error):
                        drop_shadow(self._connection, shadow)
        try:
            totals = self._ledger.finish_run(self._run_id, state, str(error) if error else None)
        except psycopg.Error as lost:
            # whatever became visible is recorded with it; the next run finds that this one has ended
            error = error or translate(lost, "writing the end of the run into the ledger")
            totals = RunTotals(0, 0, 0)
        return Outcome(
            self._run_id, state, totals, self._outcomes, self._progress, self._seconds, error, self._resolved.notes
        )


@contextlib.contextmanager
def _pool(config: Config) -> Iterator[Pool]:
    # two of the sink's connections are the run's own: the ledger's, and the one that makes tables visible
    streams = min(config.parallelism.shards * config.parallelism.streams_per_shard, config.sink.max_connections - 2)
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
