"""A reader that misbehaves as no real driver does on command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest.mock import patch

from etl_cli.runtime import extract, stream
from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.job import Job, Result, Watcher
from etl_cli.runtime.kept import Connections
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, TaskId
from etl_cli.runtime.planning import resolve_or_refuse, shards_of, sink_of
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import connect_sink
from etl_cli.runtime.sink.destination import Destination
from etl_cli.runtime.sink.shadow import create_shadow, shadow_of
from tests.support.pipeline import PipelineDirectory


class LyingCursor:
    """Counts one row more than it gives."""

    def __init__(self, cursor: extract.Cursor) -> None:
        self._cursor = cursor

    def ask(self, statement: str) -> tuple[Any, ...]:
        (answer, *rest) = self._cursor.ask(statement)
        return (answer + ("COUNT_BIG(*)" in statement), *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def first_job(directory: PipelineDirectory, isolation: str) -> Job:
    """The first table of the first shard, to be copied in this process by a run of its own."""
    config = load_config(directory.path)
    sink = sink_of(config)
    with connect_sink(sink, "test") as connection:
        ledger = Ledger(connection)
        ledger.register(config.name, config.id)
        plan = resolve_or_refuse(config, connection)[0].plan
        run_id = ledger.start_run(config.name, plan.fingerprint, Request("test"))
        task = TaskId(run_id, plan.tables[0].source, plan.shards[0])
        ledger.add_tasks([NewTask(task, plan.tables[0].target, "replace", {}, None)])
        shadow = shadow_of(plan.tables[0], "create", run_id, 0)
        create_shadow(connection, plan.tables[0], shadow)
    destination = Destination("shadow", shadow)
    return Job(task, shards_of(config)[0], sink, plan.tables[0], destination, isolation, "test", config.name)


def copied(job: Job, watcher: Watcher | None = None) -> Result:
    """Copy it. Raises EtlError."""
    with closing(Connections()) as connections:
        return stream.copy_stream(job, watcher or Watcher(), connections)


def copied_with(directory: PipelineDirectory, cursor_class: type, isolation: str) -> EtlError | None:
    """Copy the first table of the first shard in this process, through `cursor_class`; the error, if any."""
    job = first_job(directory, isolation)
    with patch.object(stream, "open_cursor", _wrapped(cursor_class)):
        try:
            copied(job)
        except EtlError as error:
            return error
    return None


def _wrapped(cursor_class: type) -> Any:
    @contextmanager
    def opened(*arguments: Any) -> Iterator[Any]:
        with extract.open_cursor(*arguments) as cursor:
            yield cursor_class(cursor)

    return opened
