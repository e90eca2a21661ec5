"""Shows, sets and forgets watermarks: `etl-cli state`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import PlanError, UsageError
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.ledger.rescue import claim
from etl_cli.runtime.ledger.watermarks import (
    Watermark,
    WatermarkId,
    read_watermarks,
    reset_watermark,
    set_watermark,
)
from etl_cli.runtime.lookback import is_higher
from etl_cli.runtime.names import split_name
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.plan_program import declared_of
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.planning import read_catalogues, shards_of, sink_of
from etl_cli.runtime.program.sources import ALONE, Source
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink
from etl_cli.runtime.source.position import columns_of


def watermarks(config: Config) -> list[Watermark]:
    """All watermarks of the pipeline."""
    with _ledger(config) as connection:
        return list(read_watermarks(connection, config.name).values())


def chosen_for_reset(config: Config, table: str | None, shards: Sequence[str]) -> list[Watermark]:
    """The watermarks that are meant. Raises UsageError where there is none."""
    wanted = table and _folded(table)
    chosen = [
        mark
        for mark in watermarks(config)
        if (not wanted or _folded(mark.id.source_table) == wanted) and (not shards or mark.id.shard in shards)
    ]
    if not chosen:
        raise UsageError("there is no such watermark", "`etl-cli state show NAME` lists them")
    return chosen


def chosen_for_setting(config: Config, table: str, shards: Sequence[str]) -> list[WatermarkId]:
    """The watermarks that are meant, whether they are there or not. Raises UsageError for what cannot have one."""
    source = declared_of(config).sources.get(table)
    if source is not None:
        return _chosen_of_source(config, source, shards)
    if not config.tables:
        raise UsageError(f"{table} is none of the pipeline's tables and own sources", "see `etl-cli plan NAME`")
    config = Request(shards=shards).of_shards(config)
    with _ledger(config) as connection:
        plan = _plan_of(config, connection, table)
    if plan.cursor is None:
        raise UsageError(f"{plan.source} has mode {plan.mode} and no cursor", "only append and upsert have one to set")
    return [WatermarkId(config.name, plan.source, shard.name) for shard in config.source.shards]


def put(config: Config, marks: Sequence[WatermarkId], value: str) -> None:
    """Set them. Raises UsageError for a value that is none of the cursor's type, PlanError while a run is active."""
    with _ledger(config) as connection:
        claim(connection, config.name)
        source = declared_of(config).sources.get(marks[0].source_table)
        if source is not None:
            for mark in marks:
                set_watermark(connection, mark, source.cursor or "", value, source.scope(config.sink.schema_))
            return
        plan = _plan_of(config, connection, marks[0].source_table)
        assert plan.cursor is not None
        cursor = columns_of(plan)[0]
        try:
            is_higher(cursor, value, value)
        except ValueError as error:
            raise UsageError(f"{value!r} is no value of {plan.cursor} ({cursor.source_type})") from error
        with connection.transaction():
            for mark in marks:
                set_watermark(connection, mark, plan.cursor, value, plan.scope)


def _chosen_of_source(config: Config, source: Source, members: Sequence[str]) -> list[WatermarkId]:
    """Of an own source: of the members that are named, else of those that have one."""
    if source.is_shadowed or not source.cursor:
        raise UsageError(f"{source.name} has mode {source.mode} and no cursor that goes on", "there is nothing to set")
    known = [mark.id for mark in watermarks(config) if mark.id.source_table == source.name]
    if source.fan_out is None:
        return [WatermarkId(config.name, source.name, ALONE)]
    unknown = [name for name in members if name not in _members_declared(source, members)]
    if unknown:
        raise UsageError(f"{source.name} has no member {', '.join(unknown)}", "see `fan_out` in etl.py")
    chosen = [WatermarkId(config.name, source.name, name) for name in members] or known
    if not chosen:
        raise UsageError(f"no member of {source.name} has a watermark yet", "name one: --member NAME")
    return chosen


def _members_declared(source: Source, otherwise: Sequence[str]) -> Sequence[str]:
    """The members, where etl.py lists them; what a step or a function gives is known in a run alone."""
    if isinstance(source.fan_out, str) or callable(source.fan_out):
        return otherwise
    return list(source.members({}, lambda function: {}))


def _folded(table: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in split_name(table))


def forget(config: Config, marks: Sequence[Watermark]) -> None:
    """Reset them. Raises PlanError while a run is active."""
    with _ledger(config) as connection:
        claim(connection, config.name)
        with connection.transaction():
            for mark in marks:
                reset_watermark(connection, mark.id)


def _plan_of(config: Config, connection: SinkConnection, table: str) -> TablePlan:
    """The table's plan, whatever else may forbid a run. Raises EtlError where there is none."""
    catalogues, errors = read_catalogues(shards_of(config))
    if errors:
        raise errors[0]
    plan, problems, _ = make_plan(config, catalogues, request=Request(tables=[table]))
    if not plan.tables:
        raise PlanError(problems[0] if problems else f"{table} is not among `tables`")
    return plan.tables[0]


@contextmanager
def _ledger(config: Config) -> Iterator[SinkConnection]:
    with connect_sink(sink_of(config), f"etl-cli {config.name} state") as connection, ledger_errors(connection):
        Ledger(connection).register(config.name, config.id)
        yield connection
