"""Writes what a run's streams tell into the ledger and the progress."""

from __future__ import annotations

from etl_cli.runtime.errors import EtlError, InvalidError
from etl_cli.runtime.events import Advanced, Done, Event, Expected, Failed, Progressed, Retried, Said, Started
from etl_cli.runtime.ledger.ledger import Ledger, TaskEnd, TaskId
from etl_cli.runtime.program.hooks import Hooks
from etl_cli.runtime.progress import Progress, TaskState
from etl_cli.runtime.table_run import TableRun
from etl_cli.runtime.task_run import TaskRun


class Recorder:
    """Told every event once, in order; keeps the errors."""

    def __init__(self, ledger: Ledger, progress: Progress, hooks: Hooks) -> None:
        self._hooks = hooks
        self._ledger = ledger
        self._progress = progress
        self._begun: set[tuple[str, str]] = set()
        self._failed_tasks: set[tuple[str, str]] = set()
        self.errors: list[EtlError] = []

    def tell(self, event: Event) -> None:
        """Record an event, but the end of a stream, which is `ended`."""
        table, shard, stream = event.job.task.source_table, event.job.task.shard, event.job.stream
        if isinstance(event, Started):
            if (table, shard) not in self._begun:
                self._begun.add((table, shard))
                self._ledger.task_started(event.job.task)
                self._progress.state(table, shard, "running")
                self._hooks.call("on_table_start", table=table, shard=shard)
        elif isinstance(event, Expected):
            self._progress.expect(table, shard, event.rows, stream)
        elif isinstance(event, Progressed):
            self._progress.moved(table, shard, event.moved, stream)
        elif isinstance(event, Retried):
            label, error = event.job.task.label, str(event.error)
            named = error if error.startswith(f"{label}: ") else f"{label}: {error}"
            told = f"{named}; another try in {event.seconds:.1f} s"
            self._progress.tell(told, table, shard)
            self._hooks.call("on_retry", table=table, shard=shard, seconds=event.seconds, error=str(event.error))
        elif isinstance(event, Advanced):
            self._progress.advanced(table, shard, event.done, event.total)
        elif isinstance(event, Said):
            self._progress.tell(event.text, table, shard)
        elif isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, Done):
            self._progress.moved(table, shard, event.result.moved, stream)

    def ended(self, table: TableRun, task: TaskRun) -> None:
        """A task has ended well: all its streams have."""
        end = task.end()
        task.state = self.task_ended(task.id, end, visible=not table.is_shadowed)
        for note in end.notes:
            table.say(note, task.id.shard)

    def task_ended(self, task: TaskId, end: TaskEnd, *, visible: bool) -> TaskState:
        """All rows of a task are in the sink; the state that it has now."""
        self._ledger.task_loaded(task, end, visible=visible)
        state: TaskState = "applied" if visible else "loaded"
        self._progress.state(task.source_table, task.shard, state)
        self._table_ended(task.source_table, task.shard, state)
        return state

    def _failed(self, event: Failed) -> None:
        table, shard = event.job.task.source_table, event.job.task.shard
        if not event.cancelled:
            self.errors.append(event.error)
            self._failed_tasks.add((table, shard))
            if isinstance(event.error, InvalidError):
                self._ledger.forbid_resumption(event.job.task.run_id)
        elif (table, shard) in self._failed_tasks:
            return  # another stream of the task has told why
        self._ledger.task_failed(event.job.task, str(event.error), cancelled=event.cancelled)
        self._progress.state(table, shard, "cancelled" if event.cancelled else "failed")
        error = None if event.cancelled else str(event.error)
        self._table_ended(table, shard, "cancelled" if event.cancelled else "failed", error)
        if error is not None:
            self._hooks.call("on_error", table=table, shard=shard, error=error)

    def _table_ended(self, table: str, shard: str, state: str, error: str | None = None) -> None:
        task = self._progress.tasks[table, shard]
        self._hooks.call(
            "on_table_end",
            table=table,
            shard=shard,
            state=state,
            rows=task.moved.rows_loaded,
            bytes=task.moved.bytes,
            seconds=task.seconds(self._progress.clock()),
            error=error,
        )
