"""Walks through a run's steps: copies in the run's own thread, the others in processes, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.steps import PastStep, add_steps, past_steps, step_began, step_ended
from etl_cli.runtime.program.declared import Step
from etl_cli.runtime.program.graph import DONE, State, Walk
from etl_cli.runtime.program.runner import Heard, Runner, StepEnd
from etl_cli.runtime.run_context import RunContext
from etl_cli.runtime.sink.connect import SinkConnection


class StepError(EtlError):
    """A step has failed."""


class Steps:
    """The steps of one run.

    `copy` copies the tables of a copy step, `stop_copy` ends that from another thread, `runner` makes what runs any
    other step.
    """

    def __init__(
        self,
        context: RunContext,
        connection: SinkConnection,
        runner: Callable[[Step, Heard], Runner],
        copy: Callable[[Step], bool],
        stop_copy: Callable[[], None],
    ) -> None:
        config, declared = context.config, context.declared
        self._connection = connection
        self._progress = context.progress
        self._run_id = context.facts.run_id
        self._config_text = config.text
        self._params = {**config.params, **context.ledger.params_of(self._run_id)}
        self._hooks = context.hooks
        self._runner = runner
        self._copy = copy
        self._stop_copy = stop_copy
        self._steps = {step.name: step for step in declared.all_steps()}
        graph = declared.graph()
        only, run_id = context.request.steps, self._run_id
        add_steps(connection, run_id, [node.name for node in graph.nodes])
        for name in [name for name in self._steps if only and name not in only]:
            step_ended(connection, run_id, name, "skipped", tries=0)
        past = past_steps(connection, run_id)
        self._results = {name: step.result for name, step in past.items() if step.state == "succeeded"}
        self._walk = Walk(graph, config.fail_fast, config.parallelism.steps, _done(past))
        self._copies: list[str] = []
        self._runners: dict[str, Runner] = {}
        self._changed = threading.Condition()
        self.errors: list[EtlError] = []

    @property
    def outcome(self) -> str:
        """`succeeded`, `failed` or `cancelled`, once all have ended."""
        return self._walk.outcome

    def run(self) -> None:
        """Run all of them. KeyboardInterrupt ends those that are under way, and is passed on."""
        with ThreadPoolExecutor(max_workers=max(1, len(self._steps)), thread_name_prefix="step") as threads:
            self._threads = threads
            try:
                with self._changed:
                    self._advance()
                while (name := self._next_copy()) is not None:
                    self._run_copy(name)
            except BaseException:
                self._cancel_all()
                raise

    def _next_copy(self) -> str | None:
        """The next copy step to run in this thread; None once everything has ended."""
        with self._changed:
            while not self._copies and not self._walk.is_over:
                self._changed.wait(1)  # an interrupt is heard between two waits
            return self._copies.pop(0) if self._copies else None

    def _run_copy(self, name: str) -> None:
        is_done = self._copy(self._steps[name])
        with self._changed:
            # one that was stopped for another step's failure has no error of its own, and must not count as done
            stopped = self._walk.is_stopping
            self._end(name, StepEnd("succeeded" if is_done else "cancelled" if stopped else "failed"))

    def _advance(self) -> None:
        """Start what may run now; with the lock held."""
        for name in self._walk.ready():
            self._walk.start(name)
            step_began(self._connection, self._run_id, name)
            self._progress.step(name, "running")
            self._hooks.call("on_step_start", step=name)
            if self._steps[name].kind == "copy":
                self._copies.append(name)
                self._changed.notify_all()
            else:
                runner = self._runners[name] = self._runner(self._steps[name], self._hearing(name))
                self._threads.submit(self._run_step, name, runner)

    def _run_step(self, name: str, runner: Runner) -> None:
        with self._changed:
            task = {
                "step": name,
                "run_id": self._run_id,
                "config": self._config_text,
                "params": dict(self._params),
                "results": {other: self._results.get(other) for other in self._steps if other in self._results},
            }
        try:
            end = runner.run(task)
        except Exception as error:
            end = StepEnd("failed", error=f'step "{name}": {type(error).__name__}: {error}: a fault of etl-cli')
        with self._changed:
            del self._runners[name]
            self._end(name, end)

    def _end(self, name: str, end: StepEnd) -> None:
        """Record an end and go on; with the lock held."""
        if end.state == "succeeded":
            self._results[name] = end.result
        if end.error is not None:
            self.errors.append(StepError(end.error))
        lost = self._walk.end(name, end.state)
        self._progress.step(name, end.state, end.error)
        took = self._progress.steps[name].seconds(self._progress.clock())
        self._hooks.call("on_step_end", step=name, state=end.state, seconds=took, error=end.error)
        if end.error is not None:
            self._hooks.call("on_error", step=name, error=end.error)
        try:
            step_ended(
                self._connection, self._run_id, name, end.state, tries=end.tries, result=end.result, error=end.error
            )
            for other in lost:
                self._progress.step(other, "cancelled")
                step_ended(self._connection, self._run_id, other, "cancelled", tries=0)
        except psycopg.Error as error:
            self.errors.append(StepError(f"the ledger did not take the end of step {name}: {error}"))
        if self._walk.is_stopping:
            self._stop_what_runs()
        else:
            self._advance()
        self._changed.notify_all()

    def _stop_what_runs(self) -> None:
        self._stop_copy()
        for runner in self._runners.values():
            threading.Thread(target=runner.cancel, daemon=True).start()

    def _cancel_all(self) -> None:
        with self._changed:
            runners = list(self._runners.values())
        for runner in runners:
            runner.cancel()

    def _hearing(self, name: str) -> Heard:
        def hear(told: Mapping[str, Any]) -> None:
            if "said" in told:
                self._progress.tell(f"{name}: {told['said']}", level=told.get("level", "info"))
            elif "done" in told:
                self._progress.step_moved(name, float(told["done"]), told.get("total"))

        return hear


def _done(past: Mapping[str, PastStep]) -> dict[str, State]:
    """What an earlier attempt has finished, and needs no second time."""
    return {name: step.state for name, step in past.items() if step.state in DONE}
