"""Sequences a run: claim, plan, begin or go on, the graph of its steps, the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import partial

import psycopg

from etl_cli.runtime.begin import begin
from etl_cli.runtime.config.model import Config
from etl_cli.runtime.copying import Copying
from etl_cli.runtime.errors import DataError, EtlError, SourceError
from etl_cli.runtime.interrupts import CancelledRunError
from etl_cli.runtime.ledger.heartbeat import Heartbeat
from etl_cli.runtime.ledger.ledger import Ledger, RunTotals
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.rescue import claim, rescue
from etl_cli.runtime.ledger.watermarks import read_watermarks
from etl_cli.runtime.outcome import Outcome, RunFailedError
from etl_cli.runtime.own.step import Extracting
from etl_cli.runtime.plan_program import declared_of, strange_params
from etl_cli.runtime.planning import resolve_or_refuse, sink_of
from etl_cli.runtime.program.declared import Declared, Step
from etl_cli.runtime.program.hooks import BATCH_HOOKS, Hooks
from etl_cli.runtime.program.runner import Heard, Runner, StepRunner
from etl_cli.runtime.progress import Progress
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.run_context import RunContext
from etl_cli.runtime.run_facts import RunFacts
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, name_session, translate
from etl_cli.runtime.source.driver import missing_libraries, uses_microsoft_driver
from etl_cli.runtime.steps import Steps
from etl_cli.runtime.workers import warm_up


def run_pipeline(config: Config, progress: Progress, request: Request = EVERYTHING) -> Outcome:
    """One run of the configured tables, or of those that are asked for, here and now.

    Raises EtlError for what forbids the run before it begins, RunFailedError for a run that began.
    """
    if not config.has_sink:
        from etl_cli.runtime.own.alone import run_alone

        return run_alone(config, declared_of(config), progress, request)
    warm_up()
    began = time.monotonic()
    declared = declared_of(config)
    request = request.of_program(declared)
    wanted = request.of_shards(config)
    progress.enter("connecting")
    _refuse_missing_libraries(config)
    with connect_sink(sink_of(config), f"etl-cli {config.name}") as connection, ledger_errors(connection):
        ledger = Ledger(connection)
        ledger.register(config.name, config.id)
        claim(connection, config.name, config.overlap)
        context, errors = _begin(config, wanted, declared, request, ledger, connection, progress)
        application = context.facts.application
        beat = partial(connect_sink, sink_of(config), application, attempts=1)
        with Heartbeat(beat, context.facts.run_id):
            name_session(connection, application)
            return _Run(context).execute(time.monotonic() - began, errors)


def _begin(
    config: Config,
    wanted: Config,
    declared: Declared,
    request: Request,
    ledger: Ledger,
    connection: SinkConnection,
    progress: Progress,
) -> tuple[RunContext, list[SourceError]]:
    """Plan the run of the `wanted` shards and begin it in the ledger; the errors are of those that are left out.

    Raises EtlError for what forbids it, which the ledger keeps as a refused run.
    """
    progress.enter("reading catalogues" if config.tables else "planning")
    rescued = rescue(connection, config.name)
    marks = read_watermarks(connection, config.name)
    try:
        resolved, errors = resolve_or_refuse(wanted, connection, request, marks)
        begun = begin(ledger, connection, wanted, request, resolved, marks)
    except EtlError as error:
        progress.run_id = ledger.refused_run(config.name, request, str(error))
        raise
    progress.run_id = begun.run_id
    notes = strange_params(config, declared, request) + ([begun.note] if begun.note else [])
    for note in notes:
        progress.tell(note)
    if begun.how != "resume":
        notes += [f"run {number} had ended without a word" for number in rescued]
    resolved.notes.extend(notes)
    hooks = Hooks(declared, config.name, begun.run_id, progress.tell)
    facts = RunFacts(
        run_id=begun.run_id,
        attempt=begun.attempt,
        pipeline=config.name,
        shards=len(config.source.shards),
        streams=config.parallelism.streams_per_shard,
        by_condition=request.where is not None,
        program=config.directory,
        hears_batches=hooks.wants(*BATCH_HOOKS),
        written=frozenset(t.plan.source for t in resolved.tables if declared.writers_of(t.plan.source)),
    )
    context = RunContext(
        wanted, request, resolved, declared, ledger, connection, progress, facts, begun.tasks, marks, hooks
    )
    return context, errors


def _refuse_missing_libraries(config: Config) -> None:
    if not config.tables:
        return
    missing = missing_libraries() if uses_microsoft_driver(config.source.driver) else []
    if missing:
        raise SourceError("the SQL Server driver wants system libraries", f"apt-get install {' '.join(missing)}")


class _Run:
    """A run that has begun in the ledger."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._copying = Copying(context)
        self._sources: dict[str, Extracting] = {}
        self._errors = self._copying.errors
        self._steps_s: float | None = None

    def execute(self, planning_s: float, errors: Sequence[EtlError]) -> Outcome:
        """Everything up to the end that is written into the ledger; `errors` are of shards that are left out."""
        self._errors.extend(errors)
        state, began = "failed", time.monotonic()
        hooks = self._context.hooks
        hooks.call("on_run_start")
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
            hooks.call(
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
        context = self._context
        if not context.declared.steps:
            self._copying.copy()
            return
        began = time.monotonic()
        application = f"{context.facts.application} steps"
        with connect_sink(sink_of(context.config), application) as connection:
            steps = Steps(context, connection, self._runner, self._copy, self._copying.cancel)
            try:
                steps.run()
            finally:
                self._steps_s = time.monotonic() - began
                self._errors.extend(steps.errors)

    def _runner(self, step: Step, heard: Heard) -> Runner:
        """What runs a step that is no copy."""
        directory = self._context.config.directory
        assert directory is not None  # where the etl.py lies that declares it
        if step.kind != "extract":
            return StepRunner(directory, step, heard)
        source = self._context.declared.source(step.name)
        self._sources[step.name] = Extracting(self._context, source, step.timeout_s)
        return self._sources[step.name]

    def _copy(self, step: Step) -> bool:
        sources = [table.plan.source for table in self._context.resolved.tables]
        return self._copying.copy(self._context.declared.tables_of(step, sources))

    def _finished(self, state: str, planning_s: float) -> Outcome:
        """Write the end into the ledger; what was loaded beside a target stays for a resumption."""
        context, error = self._context, _one(self._errors)
        if state in ("succeeded", "cancelled") or context.request.is_partial:
            self._copying.tidy()
            for source in self._sources.values():
                with contextlib.suppress(psycopg.Error):
                    source.tidy(context.connection)
        run_id = context.facts.run_id
        try:
            ended = context.ledger.finish_run(run_id, state, str(error) if error else None)
            totals = ended or RunTotals(0, 0, 0)
            if ended is None:
                error = error or EtlError(f"run {run_id} was taken for dead by another", "run again")
                state = "interrupted"
        except psycopg.Error as lost:
            # whatever became visible is recorded with it; the next run finds that this one has ended
            error = error or translate(lost, "writing the end of the run into the ledger")
            totals = RunTotals(0, 0, 0)
        steps = {} if self._steps_s is None else {"steps": self._steps_s}
        return Outcome(
            run_id,
            state,
            totals,
            [*self._copying.outcomes(), *(source.outcome() for source in self._sources.values())],
            context.progress,
            {"plan": planning_s, **self._copying.seconds, **steps},
            error,
            context.resolved.notes,
            context.facts.attempt,
        )


def _one(errors: Sequence[EtlError]) -> EtlError | None:
    """All errors of a run as one; each keeps its line."""
    if len(errors) <= 1:
        return errors[0] if errors else None
    lines = list(dict.fromkeys(str(error) for error in errors))
    if len(lines) == 1:
        return errors[0]
    return DataError(f"{len(lines)} tasks failed\n" + "\n".join(f"  {line}" for line in lines))
