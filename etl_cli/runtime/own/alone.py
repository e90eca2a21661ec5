"""Runs a program without a sink: own sources to own writers and Python steps, in this process and without a ledger.

Nothing is recorded, so nothing is resumed: a run that ends early begins anew. Tries of a source go on from its last
position, as they do with a ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import ConfigError, EtlError, SinkError, SourceError
from etl_cli.runtime.ledger.ledger import RunTotals, TaskId
from etl_cli.runtime.outcome import Outcome, RunFailedError, TableOutcome
from etl_cli.runtime.own.columns import Columns, types_of_model
from etl_cli.runtime.own.pages import Gathering, page_of
from etl_cli.runtime.own.plan import plan_of
from etl_cli.runtime.own.writers import Writers
from etl_cli.runtime.program.arguments import arguments_of
from etl_cli.runtime.program.chain import Chain
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.declared import Declared, Step
from etl_cli.runtime.program.graph import DONE, State, Walk
from etl_cli.runtime.program.importing import told_of
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.progress import Moved, Progress, TaskProgress
from etl_cli.runtime.request import Request

WITHOUT_LEDGER = "no sink is configured: this run has no ledger, so nothing of it is recorded or resumed"


def run_alone(config: Config, declared: Declared, progress: Progress, request: Request) -> Outcome:
    """Run every step, one after the other. Raises RunFailedError, and ConfigError for what needs a sink."""
    if not declared.steps:
        raise ConfigError("nothing is declared: no step and no source", "declare some before the run")
    problems = declared.problems([], [{**config.params, **request.params}]) + list(_wanting_a_sink(declared))
    if problems:
        raise ConfigError("; ".join(problems))
    began = time.monotonic()
    run = _Alone(config, declared, progress, request.of_program(declared))
    error = run.execute()
    tasks = progress.tasks.values()
    moved = sum((task.moved for task in tasks), Moved())
    outcome = Outcome(
        None,
        "failed" if error else "succeeded",
        RunTotals(moved.rows_read, moved.rows_loaded, 0),
        [TableOutcome(name, "", source.mode) for name, source in declared.sources.items()],
        progress,
        {"plan": 0.0, "copy": 0.0, "apply": 0.0, "steps": time.monotonic() - began},
        error,
        [WITHOUT_LEDGER, *run.notes],
    )
    if error is not None:
        raise RunFailedError(error.message, error.remedy, outcome) from error
    return outcome


def _wanting_a_sink(declared: Declared) -> list[str]:
    steps = [
        f"step {step.name} executes SQL, and no sink is configured" for step in declared.steps if step.kind == "sql"
    ]
    return steps + [
        f'the rows of {name} go nowhere: configure a sink, or declare @pipeline.load("{name}")'
        for name in declared.sources
        if not declared.writers_of(name)
    ]


class _Alone:
    def __init__(self, config: Config, declared: Declared, progress: Progress, request: Request) -> None:
        self._config = config
        self._declared = declared
        self._progress = progress
        self._request = request
        self._params = {**config.params, **request.params}
        self._results: dict[str, Any] = {}
        self.notes: list[str] = []

    def execute(self) -> EtlError | None:
        """The first error, where there is one; with `fail_fast: false` the steps that do not need it go on."""
        skipped: dict[str, State] = {
            step.name: "skipped"
            for step in self._declared.all_steps()
            if self._request.steps and step.name not in self._request.steps
        }
        walk = Walk(self._declared.graph(), self._config.fail_fast, 1, skipped)
        steps = {step.name: step for step in self._declared.all_steps()}
        first: EtlError | None = None
        while ready := walk.ready():
            name = ready[0]
            walk.start(name)
            self._progress.step(name, "running")
            try:
                state: State = self._run(steps[name])
            except EtlError as error:
                first, state = first or error, "failed"
            for lost in walk.end(name, state):
                self._progress.step(lost, "cancelled")
            self._progress.step(name, state, None if state in DONE else str(first))
        return first

    def _run(self, step: Step) -> State:
        if step.kind == "extract":
            self._results[step.name] = self._extract(self._declared.source(step.name))
            return "succeeded"
        assert step.function is not None
        run = self._context(step.name, lambda told: self._tell(step.name, told))
        params = self._params if step.model is None else step.model.model_validate(self._params)
        known = {**self._params, **self._results, "run": run, "params": params}
        try:
            if step.when is not None and not step.when(**arguments_of(step.when, known, f"`when` of {step.name}")):
                return "skipped"
            self._results[step.name] = step.function(**arguments_of(step.function, known, f"step {step.name}"))
        except EtlError:
            raise
        except Exception as error:
            raise EtlError(f'step "{step.name}" failed: {self._told_of(error)}') from error
        return "succeeded"

    def _extract(self, source: Source) -> dict[str, int]:
        members = source.members(
            self._results, lambda f: arguments_of(f, {**self._params, **self._results}, source.name)
        )
        wanted = {n: v for n, v in members.items() if not self._request.members or n in self._request.members}
        self._progress.add([TaskProgress(source.name, name, None) for name in wanted])
        for name, value in wanted.items():
            self._progress.state(source.name, name, "running")
            try:
                self._member(source, name, value)
            except EtlError:
                self._progress.state(source.name, name, "failed")
                raise
            self._progress.state(source.name, name, "applied")
        tasks = [self._progress.tasks[source.name, name] for name in wanted]
        return {"rows": sum(task.moved.rows_loaded for task in tasks), "members": len(wanted)}

    def _member(self, source: Source, name: str, value: Any) -> None:
        """All tries of one member."""
        member = _Member(self, source, name, value)
        while True:
            before = member.batches
            try:
                member.read_on()
                return
            except (SourceError, SinkError) as error:
                member.failures = 1 if member.batches > before else member.failures + 1
                delay = source.retries.delay_after(member.failures)
                if delay is None:
                    raise
                self._progress.tell(f"{error}; another try in {delay:.1f} s", source.name, name)
                time.sleep(delay)

    def _context(self, step: str, tell: Callable[[Mapping[str, Any]], None]) -> Run:
        return Run(
            self._config,
            self._config.directory or Path.cwd(),
            run_id=None,
            step=step,
            params=self._params,
            results=self._results,
            tell=tell,
        )

    def _tell(self, step: str, told: Mapping[str, Any]) -> None:
        if "said" in told:
            self._progress.tell(f"{step}: {told['said']}", level="info")
        else:
            self._progress.step_moved(step, float(told["done"]), told.get("total"))

    def _told_of(self, error: Exception) -> str:
        return told_of(error, self._config.directory or Path.cwd())


class _Member:
    """One member of a source: what it has come to stays over its tries."""

    def __init__(self, alone: _Alone, source: Source, name: str, value: Any) -> None:
        self._alone = alone
        self._source = source
        self._task = TaskId(0, source.name, name)
        self._value = value
        self._columns = Columns(source.name, {**types_of_model(source.model), **source.columns})
        self._changes = alone._declared.of_table(source.name)
        self._writers = Writers(alone._declared.writers_of(source.name), self._task)
        self._written: dict[str, Any] = {}
        self._position: Any = None
        self._rows = Moved()
        self.batches = 0
        self.failures = 0

    def read_on(self) -> None:
        """Read from the last position on, to the end. Raises EtlError."""
        alone, source = self._alone, self._source
        self._writers.begin(self._written if self._position is not None else {})
        if self._position is None:
            self._rows = Moved()
        run = alone._context(source.name, self._tell)
        known = {
            **alone._params,
            **alone._results,
            "run": run,
            "params": dict(alone._params),
            "watermark": None,
            "position": self._position,
            "member": self._value,
        }
        pages = source.function(**arguments_of(source.function, known, f"extract {source.name}"))
        gathering = Gathering(source.pages)
        while True:
            try:
                item = next(pages)
            except StopIteration:
                break
            except EtlError:
                raise
            except Exception as error:
                raise SourceError(f"{self._task.label}: read failed: {alone._told_of(error)}") from error
            gathering.add(page_of(self._task.label, item))
            if gathering.is_full:
                self._hand_over(gathering)
        self._hand_over(gathering)

    def _hand_over(self, gathering: Gathering) -> None:
        pieces, last = gathering.take()
        for rows in pieces:
            batch = self._columns.batch(rows)
            read = batch.num_rows
            if self._changes:
                alone = self._alone
                plan = plan_of(self._source, self._columns, [], schema="", names=alone._config.defaults.names)
                batch, rejects = Chain(plan, self._changes, self._task.shard).apply(batch)
                alone.notes += [f"{self._task.label}: left out: {reject}" for reject in rejects]
            self._written = self._writers.write(batch)
            self._rows += Moved(read, batch.num_rows)
        if last is None:
            return
        if last.has_position:
            self._position = last.position
        self.batches += 1
        self._alone._progress.moved(self._source.name, self._task.shard, self._rows)

    def _tell(self, told: Mapping[str, Any]) -> None:
        if "said" in told:
            self._alone._progress.tell(str(told["said"]), self._source.name, self._task.shard, level="info")
        else:
            progress = self._alone._progress
            progress.advanced(self._source.name, self._task.shard, float(told["done"]), told.get("total"))
