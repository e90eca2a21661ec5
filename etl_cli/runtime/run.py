"""Sequences a run: claim, plan, begin or go on, streams, becoming visible, the end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import psycopg

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.copying import Copying
from etl_cli.runtime.errors import DataError, EtlError, SourceError, UsageError
from etl_cli.runtime.interrupts import CancelledRunError
from etl_cli.runtime.ledger.heartbeat import Heartbeat
from etl_cli.runtime.ledger.ledger import Ledger, PastTask, RunTotals
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.rescue import claim, drop_leftovers, end_sessions, rescue
from etl_cli.runtime.ledger.steps import take_over_steps
from etl_cli.runtime.ledger.watermarks import read_watermarks
from etl_cli.runtime.outcome import Outcome, RunFailedError
from etl_cli.runtime.planning import Marks, Resolved, resolve_or_refuse, sink_of
from etl_cli.runtime.program.declared import Declared
from etl_cli.runtime.program.hooks import BATCH_HOOKS, Hooks
from etl_cli.runtime.program.importing import declared_in
from etl_cli.runtime.progress import Progress
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.resumption import Beginning, beginning
from etl_cli.runtime.run_facts import RunFacts
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, name_session, translate
from etl_cli.runtime.source.driver import missing_libraries, uses_microsoft_driver
from etl_cli.runtime.steps import Steps
from etl_cli.runtime.windows import from_ledger
from etl_cli.runtime.workers import warm_up


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
        declared = declared_in(config.directory) if config.directory is not None else Declared()
        hooks = Hooks(declared, config.name, begun.run_id, progress.tell)
        facts = RunFacts(
            run_id=begun.run_id,
            attempt=begun.attempt,
            pipeline=config.name,
            shards=len(whole.source.shards),
            streams=config.parallelism.streams_per_shard,
            by_condition=request.where is not None,
            program=config.directory,
            hears_batches=hooks.wants(*BATCH_HOOKS),
        )
        name_session(connection, facts.application)
        copying = Copying(config, request, resolved, ledger, connection, progress, facts, begun.tasks, marks, hooks)
        run = _Run(config, request, resolved, ledger, progress, facts, copying, declared, hooks)
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
    if decided.how == "retry" and decided.of is not None:
        request = replace(request, params={**ledger.params_of(decided.of.run_id), **request.params})
    keep = _kept_steps(connection, config, request) if request.rerun_of is not None else []
    run_id = ledger.start_run(config.name, fingerprint, request)
    if decided.how == "retry" and decided.of is not None:
        end_sessions(connection, decided.of.run_id)
        ledger.take_over(decided.of.run_id, run_id)
        take_over_steps(connection, decided.of.run_id, run_id)
    elif request.rerun_of is not None:
        ledger.link_retry(request.rerun_of, run_id)
        take_over_steps(connection, request.rerun_of, run_id, keep)
    return _Begun(run_id, 1, decided.how, tasks)


def _kept_steps(connection: SinkConnection, config: Config, request: Request) -> list[str]:
    """The steps that a rerun does not run again. Raises UsageError for a run or a step that is unknown."""
    declared = declared_in(config.directory) if config.directory is not None else Declared()
    names = [node.name for node in declared.graph().nodes]
    row = connection.execute(
        "SELECT FROM etl.runs WHERE pipeline = %s AND run_id = %s", [config.name, request.rerun_of]
    ).fetchone()
    if row is None:
        raise UsageError(f"{config.name} has no run {request.rerun_of}", f"see manage-pipeline history {config.name}")
    if request.from_step not in names:
        raise UsageError(f"no step is named {request.from_step}", f"the steps are {', '.join(names)}")
    again = declared.graph().from_(request.from_step)
    return [name for name in names if name not in again]


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
            if past is None:
                continue  # its copy had not begun, so nothing of it is there
            if past.windows is None:
                return False
            # what a watermark of an earlier mode tells is nothing to a table that is read whole
            mark = marks.get((table.plan.source, shard)) if table.plan.incremental else None
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
        progress: Progress,
        facts: RunFacts,
        copying: Copying,
        declared: Declared,
        hooks: Hooks,
    ) -> None:
        self._declared = declared
        self._hooks = hooks
        self._config = config
        self._request = request
        self._resolved = resolved
        self._ledger = ledger
        self._progress = progress
        self._facts = facts
        self._copying = copying
        self._errors = copying.errors

    def execute(self, planning_s: float, errors: Sequence[EtlError]) -> Outcome:
        """Everything up to the end that is written into the ledger; `errors` are of shards that are left out."""
        self._errors.extend(errors)
        state, began = "failed", time.monotonic()
        self._hooks.call("on_run_start")
        try:
            self._run_steps()
            state = "failed" if self._errors else "succeeded"
        except KeyboardInterrupt as stop:
            state = "cancelled" if isinstance(stop, CancelledRunError) else "interrupted"
            raise
        except EtlError as error:
            self._errors.append(error)
        except psycopg.Error as error:
            self._errors.append(translate(error, "writing the ledger"))
        finally:
            outcome = self._finished(state, planning_s)
            self._hooks.call(
                "on_run_end",
                state=outcome.state,
                rows=outcome.totals.rows_loaded,
                bytes=outcome.totals.bytes,
                seconds=time.monotonic() - began,
                error=str(outcome.error) if outcome.error else None,
            )
        if outcome.error is not None:
            raise RunFailedError(outcome.error.message, outcome.error.remedy, outcome) from outcome.error
        return outcome

    def _run_steps(self) -> None:
        """The copy alone, or the graph that etl.py declares."""
        directory = self._config.directory
        declared = self._declared
        if directory is None or not declared.steps:
            self._copying.copy()
            return
        config, facts = self._config, self._facts
        sources = [table.plan.source for table in self._resolved.tables]
        with connect_sink(sink_of(config), f"etl-cli {config.name} run {facts.run_id} steps") as connection:
            steps = Steps(
                directory,
                declared,
                connection,
                self._progress,
                facts.run_id,
                {**config.params, **self._ledger.params_of(facts.run_id)},
                fail_fast=config.fail_fast,
                at_once=config.parallelism.steps,
                only=self._request.steps,
                hooks=self._hooks,
                copy=lambda step: self._copying.copy(declared.tables_of(step, sources)),
                stop_copy=self._copying.cancel,
            )
            try:
                steps.run()
            finally:
                self._errors.extend(steps.errors)

    def _finished(self, state: str, planning_s: float) -> Outcome:
        """Write the end into the ledger; what was loaded beside a target stays for a resumption."""
        error = _one(self._errors)
        if state in ("succeeded", "cancelled") or self._request.is_partial:
            self._copying.tidy()
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
        return Outcome(
            self._facts.run_id,
            state,
            totals,
            self._copying.outcomes(),
            self._progress,
            {"plan": planning_s, **self._copying.seconds},
            error,
            self._resolved.notes,
            self._facts.attempt,
        )


def _one(errors: Sequence[EtlError]) -> EtlError | None:
    """All errors of a run as one; each keeps its line."""
    if len(errors) <= 1:
        return errors[0] if errors else None
    lines = list(dict.fromkeys(str(error) for error in errors))
    if len(lines) == 1:
        return errors[0]
    return DataError(f"{len(lines)} tasks failed\n" + "\n".join(f"  {line}" for line in lines))
