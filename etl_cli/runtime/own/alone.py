"""Runs a program without a sink: own sources to own writers and Python steps, in this process and without a ledger.

Nothing is recorded, so nothing is resumed: a run that ends early begins anew. Tries of a source go on from its last
position, as they do with a ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import ConfigError, DataError, EtlError, SinkError, SourceError
from etl_cli.runtime.ledger.ledger import RunTotals, TaskId
from etl_cli.runtime.ledger.rejects import Reject
from etl_cli.runtime.outcome import Outcome, RunFailedError, TableOutcome
from etl_cli.runtime.own.columns import Columns
from etl_cli.runtime.own.fitting import Fitting
from etl_cli.runtime.own.inference import types_of_model
from etl_cli.runtime.own.members import failed_members, members_of
from etl_cli.runtime.own.pages import Gathering, pages_of
from etl_cli.runtime.own.plan import plan_of
from etl_cli.runtime.own.writers import Writers
from etl_cli.runtime.program.chain import Chain
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.declared import Declared, Step
from etl_cli.runtime.program.execute import execute_step
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
        self.config = config
        self.declared = declared
        self.progress = progress
        self._request = request
        self.params = {**config.params, **request.params}
        self.results: dict[str, Any] = {}
        self.notes: list[str] = []

    def execute(self) -> EtlError | None:
        """The first error, where there is one; with `fail_fast: false` the steps that do not need it go on."""
        skipped: dict[str, State] = {
            step.name: "skipped"
            for step in self.declared.all_steps()
            if self._request.steps and step.name not in self._request.steps
        }
        walk = Walk(self.declared.graph(), self.config.fail_fast, 1, skipped)
        steps = {step.name: step for step in self.declared.all_steps()}
        first: EtlError | None = None
        while ready := walk.ready():
            name = ready[0]
            walk.start(name)
            self.progress.step(name, "running")
            try:
                state: State = self._run(steps[name])
            except EtlError as error:
                first, state = first or error, "failed"
            for lost in walk.end(name, state):
                self.progress.step(lost, "cancelled")
            self.progress.step(name, state, None if state in DONE else str(first))
        return first

    def _run(self, step: Step) -> State:
        if step.kind == "extract":
            self.results[step.name] = self._extract(self.declared.source(step.name))
            return "succeeded"
        for tries in range(step.retries, -1, -1):
            try:
                ended = execute_step(step, self.context(step.name, lambda told: self._tell(step.name, told)))
                break
            except EtlError as error:
                if not tries:
                    raise
                self.progress.tell(f"{error}; another try in {step.retry_delay_s:.1f} s")
                time.sleep(step.retry_delay_s)
        if ended["state"] != "succeeded":
            return "skipped"
        self.results[step.name] = ended.get("result")
        return "succeeded"

    def _extract(self, source: Source) -> dict[str, int]:
        """Every member, also where another has failed. Raises EtlError."""
        members = members_of(source, self.params, self.results, self._request.members, self.told_of)
        self.progress.add([TaskProgress(source.name, name, None) for name in members])
        errors = []
        for name, value in members.items():
            self.progress.state(source.name, name, "running")
            try:
                self._member(source, name, value)
                self.progress.state(source.name, name, "applied")
            except EtlError as error:
                errors.append(error)
                self.progress.state(source.name, name, "failed")
        if errors:
            raise failed_members(source.name, errors, len(members))
        tasks = [self.progress.tasks[source.name, name] for name in members]
        return {"rows": sum(task.moved.rows_loaded for task in tasks), "members": len(members)}

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
                self.progress.tell(f"{error}; another try in {delay:.1f} s", source.name, name)
                time.sleep(delay)

    def context(self, step: str, tell: Callable[[Mapping[str, Any]], None]) -> Run:
        return Run(
            self.config,
            self.config.directory or Path.cwd(),
            run_id=None,
            step=step,
            params=self.params,
            results=self.results,
            tell=tell,
        )

    def _tell(self, step: str, told: Mapping[str, Any]) -> None:
        if "said" in told:
            self.progress.tell(f"{step}: {told['said']}", level="info")
        else:
            self.progress.step_moved(step, float(told["done"]), told.get("total"))

    def told_of(self, error: Exception) -> str:
        return told_of(error, self.config.directory or Path.cwd())


@dataclass(frozen=True)
class _Reached:
    """How far a member has come: its last position, and what own writers and the figures had come to there."""

    position: Any = None
    written: Mapping[str, Any] = field(default_factory=dict)
    rows: Moved = field(default_factory=Moved)
    notes: tuple[str, ...] = ()


class _Member:
    """One member of a source: what it has come to stays over its tries."""

    def __init__(self, alone: _Alone, source: Source, name: str, value: Any) -> None:
        self._alone = alone
        self._source = source
        self._task = TaskId(0, source.name, name)
        self._value = value
        self._columns = Columns(source.name, {**types_of_model(source.model), **source.columns})
        self._fitting = Fitting(source, self._task.label, self._columns)
        self._changes = alone.declared.of_table(source.name)
        self._writers = Writers(alone.declared.writers_of(source.name), self._task)
        self._kept = self._now = _Reached()
        self.batches = 0
        self.failures = 0

    def read_on(self) -> None:
        """Read from the last position on, to the end. Raises EtlError."""
        alone, source = self._alone, self._source
        self._now = self._kept
        self._writers.begin(dict(self._now.written))
        known = {
            **alone.params,
            **alone.results,
            "run": alone.context(source.name, self._tell),
            "params": dict(alone.params),
            "watermark": None,
            "position": self._now.position,
            "member": self._value,
        }
        gathering = Gathering(source.pages)
        for page in pages_of(source, known, self._task.label, alone.told_of):
            gathering.add(page)
            if gathering.is_full:
                self._hand_over(gathering)
        self._hand_over(gathering)
        alone.notes += self._now.notes

    def _hand_over(self, gathering: Gathering) -> None:
        pieces, last = gathering.take()
        for rows in pieces:
            batch = self._fitting.batch(rows)
            rejects = self._fitting.take_rejects()
            read = batch.num_rows + len(rejects)
            if self._changes:
                names = self._alone.config.defaults.names
                plan = plan_of(self._source, self._columns, [], schema="", names=names)
                batch, bad = Chain(plan, self._changes, self._task.shard).apply(batch)
                rejects = [*rejects, *bad]
            self._refuse_too_many(rejects)
            told = tuple(f"{self._task.label}: left out: {reject}" for reject in rejects)
            moved = Moved(read, batch.num_rows, rows_rejected=len(rejects))
            written = self._writers.write(batch)
            now = self._now
            self._now = replace(now, written=written, rows=now.rows + moved, notes=now.notes + told)
        if last is None:
            return
        if last.has_position:
            self._now = self._kept = replace(self._now, position=last.position)
        self.batches += 1
        self._alone.progress.moved(self._source.name, self._task.shard, self._now.rows)

    def _refuse_too_many(self, rejects: Sequence[Reject]) -> None:
        """There is no ledger to keep them: they are told."""
        total = self._now.rows.rows_rejected + len(rejects)
        if total > self._source.max_rejects:
            raise DataError(
                f"{self._task.label}: {total} bad rows, max_rejects is {self._source.max_rejects}; "
                f"the last: {rejects[-1]}",
                "correct the rows, or raise max_rejects",
            )

    def _tell(self, told: Mapping[str, Any]) -> None:
        if "said" in told:
            self._alone.progress.tell(str(told["said"]), self._source.name, self._task.shard, level="info")
        else:
            progress = self._alone.progress
            progress.advanced(self._source.name, self._task.shard, float(told["done"]), told.get("total"))
