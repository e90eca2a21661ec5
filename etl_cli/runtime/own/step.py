"""The step that runs an own source: its members in workers, several at a time, then what they brought becomes visible.

A member that fails is tried again from its last recorded position; the others go on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psycopg

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.events import Done, Event, Failed, Retried
from etl_cli.runtime.job import Result
from etl_cli.runtime.ledger.chunks import refuse_superseded
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, PastTask, TaskEnd, TaskId, forget_tasks, record_applied
from etl_cli.runtime.outcome import TableOutcome
from etl_cli.runtime.own.job import ExtractJob
from etl_cli.runtime.own.marks import OwnMarks
from etl_cli.runtime.own.members import failed_members, members_of
from etl_cli.runtime.own.tries import Tries
from etl_cli.runtime.own.visible import publish_shadow, remove_members, shadow_for
from etl_cli.runtime.planning import sink_of
from etl_cli.runtime.program.importing import told_of
from etl_cli.runtime.program.runner import StepEnd
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.progress import Moved, TaskProgress
from etl_cli.runtime.recorder import Recorder
from etl_cli.runtime.run_context import RunContext
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, translate
from etl_cli.runtime.sink.publish import Published
from etl_cli.runtime.sink.shadow import Shadow, drop_shadow
from etl_cli.runtime.workers import Pool

_GRACE_S = 2.0
"""How long a worker that was asked to stop may finish its batch: an API's answer may be long in coming."""

_BEGAN_AT = "watermark"
"""Under which a task keeps the watermark that its function is given."""

_FIRST_NUMBER = 10_000
"""Of own sources in the names of their shadows, above those of all tables."""


class Extracting:
    """One own source in one run; `run` blocks until it has ended, `cancel` may be called from another thread."""

    def __init__(self, context: RunContext, source: Source, timeout_s: float | None) -> None:
        self._context = context
        self._source = source
        self._timeout_s = timeout_s
        self._pool = Pool(source.at_once, 1, _GRACE_S)
        self._late = False
        self._stopped = threading.Event()
        self._tries = Tries(source.retries, self._stopped, lambda text: context.progress.tell(text, source.name))
        self._marks = OwnMarks(context, source)
        self._results: dict[str, Result] = {}
        self._recorder: Recorder
        self._shadow: Shadow | None = None
        self._published: Published | None = None
        self._notes: list[str] = []

    def run(self, task: Mapping[str, Any]) -> StepEnd:
        """Run every member that is not done; the result is what they loaded."""
        timer = threading.Timer(self._timeout_s, self._time_is_up) if self._timeout_s is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            return self._run(task)
        except EtlError as error:
            return StepEnd("failed", error=str(error))
        except psycopg.Error as error:
            return StepEnd("failed", error=str(translate(error, f'step "{self._source.name}"')))
        finally:
            if timer is not None:
                timer.cancel()
            self._pool.close()

    def cancel(self) -> None:
        """Stop all members; what they have recorded stays."""
        self._stopped.set()
        self._pool.cancel()

    def tidy(self, connection: SinkConnection) -> None:
        """Remove what was loaded beside the target and is needed no more."""
        if self._shadow is not None:
            drop_shadow(connection, self._shadow)

    def outcome(self) -> TableOutcome:
        """How its table ended."""
        schema = self._context.config.sink.schema_
        target = ".".join(self._source.target_name(schema)) if self._source.to_sink else ""
        moved = None if self._source.is_shadowed else self._moved()
        if moved is not None and self._source.mode == "append" and not self._source.key:
            moved = replace(moved, rows_inserted=moved.rows_loaded)
        return TableOutcome(self._source.name, target, self._source.mode, self._published, self._notes, moved)

    def _time_is_up(self) -> None:
        self._late = True
        self.cancel()

    def _run(self, task: Mapping[str, Any]) -> StepEnd:
        config, facts, source = self._context.config, self._context.facts, self._source
        members = self._tries.patiently(lambda: self._members(task), f"{source.name}: fan_out")
        if members is None:
            return self._stopped_end()
        with connect_sink(sink_of(config), f"{facts.application} step {source.name}") as connection:
            ledger = Ledger(connection)
            self._recorder = Recorder(ledger, self._context.progress, self._context.hooks)
            jobs = self._jobs(connection, ledger, members, task)
            for event in self._pool.run(jobs):
                self._hear(connection, event)
            if self._pool.is_cancelled:
                return self._stopped_end()
            errors = self._recorder.errors
            if errors:
                return StepEnd("failed", error=str(failed_members(source.name, errors, len(members))))
            if source.is_shadowed and source.to_sink:
                is_done = self._tries.patiently(lambda: self._publish(members), f"making {source.name} visible")
                if not is_done:
                    return self._stopped_end()
            moved = self._moved()
            return StepEnd("succeeded", result={"rows": moved.rows_loaded, "members": len(members)})

    def _stopped_end(self) -> StepEnd:
        if not self._late:
            return StepEnd("cancelled")
        return StepEnd("failed", error=self._told(f"took longer than its timeout ({self._timeout_s:.0f} s)"))

    def _members(self, task: Mapping[str, Any]) -> dict[str, Any]:
        wanted = self._context.request.members
        return members_of(self._source, task["params"], task["results"], wanted, self._told_of)

    def _told_of(self, error: Exception) -> str:
        directory = self._context.config.directory
        return told_of(error, directory) if directory is not None else str(error)

    def _jobs(
        self, connection: SinkConnection, ledger: Ledger, members: Mapping[str, Any], task: Mapping[str, Any]
    ) -> list[ExtractJob]:
        """The members that are to be read, queued in the ledger; what earlier attempts have read is shown as it is."""
        run_id, name = self._context.facts.run_id, self._source.name
        tasks = ledger.tasks_of(run_id)
        past = self._beside_target(
            connection, {shard: t for (table, shard), t in tasks.items() if table == name}, members
        )
        marks = self._began_at(ledger, past, members)
        self._context.progress.add([TaskProgress(name, member, None) for member in members])
        jobs = []
        for member, value in members.items():
            if member in past and past[member].state in ("loaded", "applied"):
                self._show_read(member, past[member])
            else:
                jobs.append(self._job(member, value, marks[member], task))
        return jobs

    def _beside_target(
        self, connection: SinkConnection, past: Mapping[str, PastTask], members: Mapping[str, Any]
    ) -> Mapping[str, PastTask]:
        """Choose the shadow, where the rows need one; what of the earlier attempts is still to be gone on with."""
        context, source = self._context, self._source
        if not (source.is_shadowed and source.to_sink):
            return past
        beside = next((one.shadow for one in past.values() if one.shadow), None)
        mark = f"{context.facts.run_id}_{_FIRST_NUMBER + list(context.declared.sources).index(source.name)}"
        self._shadow = shadow_for(connection, source, context.config.sink.schema_, mark, beside)
        return self._without_gone(connection, past, members)

    def _began_at(
        self, ledger: Ledger, past: Mapping[str, PastTask], members: Mapping[str, Any]
    ) -> dict[str, str | None]:
        """The watermark that each member is given; those that are new are queued with it.

        A resumption begins with the one that its run began with, however far the run has moved it since.
        """
        source, run_id = self._source, self._context.facts.run_id
        target = ".".join(source.target_name(self._context.config.sink.schema_))
        shadow = f"{self._shadow.schema}.{self._shadow.name}" if self._shadow else None
        new = {name: self._marks.given(name) for name in members if name not in past}
        ledger.add_tasks(
            [
                NewTask(TaskId(run_id, source.name, name), target, source.mode, {_BEGAN_AT: mark}, shadow)
                for name, mark in new.items()
            ]
        )
        return new | {name: (past[name].windows or {}).get(_BEGAN_AT) for name in members if name in past}

    def _show_read(self, member: str, past: PastTask) -> None:
        progress, totals = self._context.progress, past.totals
        progress.moved(self._source.name, member, Moved(totals.rows_read, totals.rows_loaded, totals.bytes))
        progress.state(self._source.name, member, "loaded" if past.state == "loaded" else "applied")

    def _job(self, member: str, value: Any, watermark: str | None, task: Mapping[str, Any]) -> ExtractJob:
        config, facts, source = self._context.config, self._context.facts, self._source
        assert config.directory is not None
        known = self._marks.known(member)
        return ExtractJob(
            task=TaskId(facts.run_id, source.name, member),
            sink=sink_of(config),
            directory=config.directory,
            application=f"{facts.application} {source.name} {member}".rstrip(),
            schema=config.sink.schema_,
            names=config.defaults.names,
            pipeline=config.name,
            config=config.text,
            attempt=facts.attempt,
            member=value,
            params=task["params"],
            results=task["results"],
            watermark=watermark,
            mark=known.value if known is not None else None,
            move=self._marks.moved_by_chunk(member),
            shadow=self._shadow,
            members_share_keys=source.members_share_keys,
        )

    def _without_gone(
        self, connection: SinkConnection, past: Mapping[str, PastTask], members: Mapping[str, Any]
    ) -> Mapping[str, PastTask]:
        """What earlier attempts have come to, without members that are none any more: their rows are removed.

        Where no column tells whose a row is, all members begin anew.
        """
        source, facts = self._source, self._context.facts
        gone = [name for name in past if name not in members]
        if not gone or self._shadow is None:
            return past
        forgotten = gone if source.member_column else list(past)
        with connection.transaction():
            refuse_superseded(connection, facts.run_id, facts.attempt)
            remove_members(connection, source, self._shadow, forgotten, self._context.config.defaults.names)
            forget_tasks(connection, facts.run_id, source.name, forgotten)
        self._notes.append(f"{', '.join(gone)} of {source.name} is none of its members any more")
        return {name: task for name, task in past.items() if name not in forgotten}

    # events

    def _hear(self, connection: SinkConnection, event: Event) -> None:
        if isinstance(event, Failed) and not event.cancelled:
            delay = self._tries.delay(connection, event)
            if delay is not None and isinstance(event.job, ExtractJob):
                self._recorder.tell(Retried(event.job, event.error, delay))
                self._pool.again(event.job, delay)
                return
        self._recorder.tell(event)
        if isinstance(event, Done):
            self._ended(connection, event)

    def _ended(self, connection: SinkConnection, event: Done) -> None:
        task, result = event.job.task, event.result
        self._results[task.shard] = result
        visible = not self._source.is_shadowed or not self._source.to_sink
        with connection.transaction():
            refuse_superseded(connection, task.run_id, self._context.facts.attempt)
            self._marks.move(connection, task, result.last_position)
            end = TaskEnd(result.moved, None, "", [*result.notes, *result.moved.notes])
            self._recorder.task_ended(task, end, visible=visible)
        named = f"{task.shard}: " if task.shard else ""
        self._notes += [f"{named}{note}" for note in end.notes]

    # the end

    def _publish(self, members: Mapping[str, Any]) -> bool:
        """Publish over a connection of its own, for one that was lost takes the next try with it."""
        context, source = self._context, self._source
        with connect_sink(sink_of(context.config), f"{context.facts.application} step {source.name}") as connection:
            self._publish_over(connection, members)
        return True

    def _publish_over(self, connection: SinkConnection, members: Mapping[str, Any]) -> None:
        """Make what all members brought visible at once, unless an earlier try or attempt has."""
        context, source, facts = self._context, self._source, self._context.facts
        assert self._shadow is not None
        names = list(members)
        past = Ledger(connection).tasks_of(facts.run_id)
        if all(past[source.name, name].state == "applied" for name in names):
            return
        rows = {name: context.progress.tasks[source.name, name].moved.rows_loaded for name in names}

        def record(inner: SinkConnection) -> None:
            refuse_superseded(inner, facts.run_id, facts.attempt)
            record_applied(inner, facts.run_id, source.name, names)

        self._published = publish_shadow(
            connection,
            source,
            context.declared.of_table(source.name),
            self._shadow,
            record,
            names=context.config.defaults.names,
            schema=context.config.sink.schema_,
            run_id=facts.run_id,
            members=names if context.request.members else None,
            empty=[name for name, count in rows.items() if not count],
        )
        for name in names:
            context.progress.state(source.name, name, "applied")

    def _moved(self) -> Moved:
        tasks = self._context.progress.tasks
        return sum((task.moved for (table, _), task in tasks.items() if table == self._source.name), Moved())

    def _told(self, text: str) -> str:
        return f'step "{self._source.name}" {text}'
