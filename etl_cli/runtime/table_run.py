"""One table within a run: where its rows go, which streams bring them, and how they become visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg

from etl_cli.runtime.job import Job, Result
from etl_cli.runtime.ledger.chunks import refuse_superseded
from etl_cli.runtime.ledger.ledger import NewTask, record_applied
from etl_cli.runtime.names import quote_sink, quote_text, with_suffix
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.planning import ResolvedTable
from etl_cli.runtime.run_facts import RunFacts
from etl_cli.runtime.sink.connect import Sink, SinkConnection, translate
from etl_cli.runtime.sink.destination import Destination, create_keys_table
from etl_cli.runtime.sink.difference import advance_sequences
from etl_cli.runtime.sink.merge import create_changes_table
from etl_cli.runtime.sink.prepare import prepare_target
from etl_cli.runtime.sink.publish import Part, Published, publish
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow, create_shadow, drop_shadow, shadow_of
from etl_cli.runtime.sink.srids import srids_of
from etl_cli.runtime.sink.target import Target, read_target
from etl_cli.runtime.source.connect import Shard
from etl_cli.runtime.spatial import with_srids
from etl_cli.runtime.table_watermarks import TableWatermarks
from etl_cli.runtime.task_run import TaskRun
from etl_cli.runtime.validation import validate_shadow
from etl_cli.runtime.windows import as_json


class TableRun:
    """Sequenced by copying.py: prepare, jobs, stream_done for each, then publish."""

    def __init__(
        self, resolved: ResolvedTable, facts: RunFacts, tasks: Mapping[str, TaskRun], number: int, beside: str | None
    ) -> None:
        self.resolved = resolved
        self.plan: TablePlan = resolved.plan
        self.tasks = dict(tasks)
        self._facts = facts
        self._watermarks = TableWatermarks(self.plan, facts)
        self._target: Target | None = None
        self._said: dict[str, list[str]] = {}
        self._open = 0
        self.published: Published | None = None
        how = resolved.apply.how if self.is_shadowed else "difference"
        self._shadow = _named(beside) if beside else shadow_of(self.plan, how, facts.run_id, number)

    def say(self, text: str, shard: str = "") -> None:
        """Something worth telling about the table, or about a shard of it."""
        self._said.setdefault(text, []).append(shard)

    @property
    def notes(self) -> list[str]:
        """What was said, each thing once."""
        named = {text: ", ".join(sorted(filter(None, shards))) for text, shards in self._said.items()}
        return [f"{shards}: {text}" if shards else text for text, shards in named.items()]

    @property
    def is_shadowed(self) -> bool:
        """Whether the rows become visible together at the end, and not chunk by chunk."""
        return self.resolved.loading.how == "shadow"

    @property
    def keeps_keys(self) -> bool:
        """Whether a table tells which shard every key came from."""
        return self.resolved.loading.how in ("merge", "changes") and self.plan.shard_column is None

    @property
    def beside(self) -> str | None:
        """The name of the table beside the target that this run needs, for the ledger."""
        return f"{self._shadow.schema}.{self._shadow.name}" if self.is_shadowed else None

    def new_tasks(self) -> list[NewTask]:
        """The table's tasks for the ledger."""
        plan = self.plan
        mode = "changes" if self.resolved.loading.initial else plan.mode
        return [NewTask(task.id, plan.target, mode, as_json(task.fixed), self.beside) for task in self.tasks.values()]

    def prepare(self, connection: SinkConnection) -> None:
        """Make the table that the rows are loaded into, or bring the target itself into form. Raises SinkError."""
        try:
            if self.plan.track_changes:
                create_changes_table(connection, self.plan)
            if not self.is_shadowed:
                self._prepare_target(connection)
            elif read_target(connection, self._shadow.schema, self._shadow.name) is None:
                create_shadow(connection, self.plan, self._shadow)
        except psycopg.Error as error:
            raise translate(error, f"preparing {self.plan.target}") from error

    def jobs(self, shards: Sequence[Shard], sink: Sink) -> Iterator[Job]:
        """One for each stream of each task that is not done."""
        for shard in shards:
            task = self.tasks.get(shard.name)
            if task is None or task.is_done:
                continue
            limit = shard.source.max_rows_per_s
            for stream, window in enumerate(task.fixed.windows):
                self._open += 1
                yield Job(
                    task=task.id,
                    shard=shard,
                    sink=sink,
                    plan=self.plan,
                    destination=self._destination,
                    isolation=task.isolation,
                    application=f"{self._facts.application} {self.plan.source} {shard.name}",
                    pipeline=self._facts.pipeline,
                    attempt=self._facts.attempt,
                    stream=stream,
                    window=window,
                    watermark=self._watermarks.of_chunks(task),
                    max_rows_per_s=limit / self._facts.streams if limit else None,
                    program=self._facts.program if self._facts.is_programmed(self.plan) else None,
                )

    def stream_done(self, shard: str, stream: int, result: Result) -> TaskRun | None:
        """Keep what a stream told; its task, once all streams of it are done."""
        task = self.tasks[shard]
        task.results[stream] = result
        return task if task.is_done else None

    def stream_ended(self) -> None:
        """One of the `jobs` has ended, however it did."""
        self._open -= 1

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the table is at work or waiting any more."""
        return self._open <= 0

    @property
    def complete_shards(self) -> list[str]:
        """The shards whose rows are all there."""
        return [shard for shard, task in self.tasks.items() if task.is_done and not task.failed]

    def finish_incremental(self, connection: SinkConnection, task: TaskRun) -> None:
        """After the last chunk of a task whose streams do not move the watermark themselves, move it."""
        refuse_superseded(connection, self._facts.run_id, self._facts.attempt)
        advance_sequences(connection, self.plan)
        self._watermarks.move_at_end(connection, task)

    def publish(self, connection: SinkConnection) -> None:
        """Make the complete shards' rows visible, with their ledger rows in the same transaction."""
        self._validate(connection)
        complete = self.complete_shards
        is_part = len(complete) < len(self.tasks) or len(self.tasks) < self._facts.shards
        empty = [shard for shard in complete if self.tasks[shard].rows == 0]
        part = Part(self._facts.run_id, complete if is_part else None, empty)
        apply = self.resolved.apply
        if is_part and apply.how == "swap":
            apply = replace(apply, how="difference", why="a part of the shards")
        if len(complete) < len(self.tasks):
            self._take_out_others(connection, complete)
        plan = with_srids(self.plan, srids_of(connection, self.plan, self._shadow))
        self.published = publish(connection, plan, self._shadow, apply, self._record, part)

    def _validate(self, connection: SinkConnection) -> None:
        told = {shard: task.checksums if task.is_done else None for shard, task in self.tasks.items()}
        note = validate_shadow(connection, self.plan, self._shadow, told)
        if note:
            self.say(note)

    def _take_out_others(self, connection: SinkConnection, complete: Sequence[str]) -> None:
        """Rows of a shard that failed half-way must not become visible: it keeps its old ones (trap 21)."""
        column = quote_sink(self.plan.shard_column or "")
        listed = ", ".join(map(quote_text, complete))
        execute(connection, f"DELETE FROM {self._shadow.quoted} WHERE {column} NOT IN ({listed})")

    def tidy(self, connection: SinkConnection) -> None:
        """Remove what the run made beside the target."""
        if self.beside is not None:
            drop_shadow(connection, self._shadow)

    def analyze(self, connection: SinkConnection) -> None:
        """Give the planner statistics of the new rows; autovacuum would, but only later."""
        execute(connection, f"ANALYZE {Shadow(self.plan.target_schema, self.plan.target_name).quoted}")

    def _prepare_target(self, connection: SinkConnection) -> None:
        plan = self.plan
        with connection.transaction():
            if self.keeps_keys:
                create_keys_table(connection, plan, self._keys)
                if read_target(connection, plan.target_schema, plan.target_name) is None:
                    execute(connection, f"DELETE FROM {self._keys.quoted}")  # of a target that is gone
            self._target = prepare_target(connection, plan)

    @property
    def _keys(self) -> Shadow:
        """Where the shard of each key of the target is kept, where rows have no shard column."""
        return Shadow("etl", with_suffix(f"{self.plan.target_schema}.{self.plan.target_name}", "_keys"))

    @property
    def _destination(self) -> Destination:
        how = self.resolved.loading.how
        if how == "shadow":
            return Destination("shadow", self._shadow)
        table = Shadow(self.plan.target_schema, self.plan.target_name)
        return Destination(how, table, self._target, self._keys if self.keeps_keys else None)

    def _record(self, connection: SinkConnection) -> None:
        refuse_superseded(connection, self._facts.run_id, self._facts.attempt)
        record_applied(connection, self._facts.run_id, self.plan.source, self.complete_shards)
        if self.resolved.loading.initial:
            for task in self.tasks.values():
                if task.is_done:
                    self._watermarks.begin_changes(connection, task)


def _named(beside: str) -> Shadow:
    schema, _, name = beside.partition(".")
    return Shadow(schema, name)
