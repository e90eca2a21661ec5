"""Resolves what a run will do, before it does anything: configuration + catalogues -> plan.

It decides and reads nothing: no database is asked here. All problems are collected, each with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.expansion import expand
from etl_cli.runtime.found_table import FoundTable, Problems
from etl_cli.runtime.names import cut, fold
from etl_cli.runtime.plan import ColumnPlan, Plan, TablePlan
from etl_cli.runtime.plan_checks import check_mode, check_names, check_order, check_settings
from etl_cli.runtime.plan_columns import SinkTypes, plan_columns
from etl_cli.runtime.plan_order import cursor_of, key_of, order_of
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.source.catalogue import Catalogue
from etl_cli.runtime.type_requests import EXTENSION_TYPES


def make_plan(
    config: Config,
    catalogues: Sequence[Catalogue],
    *,
    has_xml: bool = True,
    extension_types: Mapping[str, str] = EXTENSION_TYPES,
    request: Request = EVERYTHING,
) -> tuple[Plan, Problems, Problems]:
    """The plan, the problems that forbid it, and notes that an operator should know.

    `catalogues` holds one for every shard that answered, `extension_types` the types of extensions that the sink
    has, as it spells them.
    """
    problems: Problems = []
    notes: Problems = []
    tables: list[TablePlan] = []
    expanded = [(entry, name) for entry, name in expand(config.tables, catalogues, problems) if request.takes(name)]
    if request.tables and not expanded:
        problems.append(f"{', '.join(request.tables)}: not among `tables`: name a source table as config.yaml does")
    problems += _named_twice([name for _, name in expanded])
    types = SinkTypes(has_xml, extension_types)
    for entry, name in expanded:
        table = FoundTable(config, entry, name, catalogues)
        planned = _plan_table(table, types)
        problems += table.problems
        notes += table.notes
        if planned is not None:
            tables.append(planned)
    problems += shared_targets(_writes(tables))
    shards = tuple(catalogue.shard for catalogue in catalogues)
    return Plan(config.name, shards, tuple(tables)), problems, notes


def _writes(tables: Sequence[TablePlan]) -> Iterator[tuple[str, str]]:
    for table in tables:
        yield table.target, table.source
        if table.track_changes:
            yield f"{table.target}_changes", f"the changes of {table.source}"


def shared_targets(writes: Iterable[tuple[str, str]]) -> Problems:
    """A line for each target that more than one writes; `writes` gives targets and who writes them."""
    writers: dict[str, list[str]] = {}
    for target, who in writes:
        writers.setdefault(target, []).append(who)
    return [
        f"{' and '.join(sorted(meeting))} would share the target {target}: give one of them its own `target`"
        for target, meeting in writers.items()
        if len(set(meeting)) > 1
    ]


def _named_twice(names: Sequence[tuple[str, str]]) -> Problems:
    folded = [(schema.lower(), name.lower()) for schema, name in names]
    twice = sorted({".".join(name) for name in folded if folded.count(name) > 1})
    return [f"{name} is named twice under `tables`: a run copies a table once; keep one entry" for name in twice]


def _plan_table(table: FoundTable, types: SinkTypes) -> TablePlan | None:
    """The plan of one table; None where the table's problems forbid one."""
    missing = [c.shard for c in table.catalogues if c.shard not in table.by_shard]
    if missing:
        table.problem(
            f"does not exist (or may not be seen) on {', '.join(missing)}: "
            "create it there, grant SELECT, or take it out of `tables`"
        )
    if not table.by_shard:
        return None
    columns = plan_columns(table, types)
    key = key_of(table)
    cursor = cursor_of(table)
    order = order_of(table, key, cursor)
    check_mode(table, key)
    check_settings(table)
    check_order(table, (*key, *order))
    check_names(table, columns)
    return None if table.problems else _assembled(table, columns, key, cursor, order)


def _assembled(
    table: FoundTable, columns: Sequence[ColumnPlan], key: tuple[str, ...], cursor: str | None, order: tuple[str, ...]
) -> TablePlan:
    entry, first = table.entry, table.first
    target_of = {column.source: column.target for column in columns}
    shard_column = cut(fold(entry.shard_column, entry.names)) if entry.shard_column else None
    target_key = tuple(target_of[name] for name in key)
    schema, name = _target(table)
    return TablePlan(
        source_schema=first.schema,
        source_name=first.name,
        target_schema=schema,
        target_name=name,
        mode=entry.mode,
        columns=tuple(columns),
        key=(*target_key, shard_column) if target_key and shard_column else target_key,
        order=order,
        shard_column=shard_column,
        where=entry.where,
        chunk_rows=entry.chunk_rows,
        chunk_bytes=entry.chunk_bytes,
        apply=entry.apply,
        validate=entry.validate_,
        allow_empty=entry.allow_empty,
        nul_characters=entry.nul_characters,
        cursor=cursor,
        lookback=entry.lookback,
        contract=entry.schema_,
        on_bad_row=entry.on_bad_row,
        max_rejects=entry.max_rejects,
        soft_delete=entry.soft_delete,
        track_changes=entry.track_changes,
        lineage=entry.lineage,
        comment=first.comment,
        row_estimates={shard: found.row_estimate for shard, found in table.by_shard.items()},
    )


def _target(table: FoundTable) -> tuple[str, str]:
    """Schema and name in the sink, as Postgres stores them; only a configured target names a schema."""
    sink = table.config.sink
    if table.entry.target is None:
        return cut(sink.schema_), cut(fold(table.first.name, table.entry.names))
    schema, _, name = table.entry.target.rpartition(".")
    return cut(schema or sink.schema_), cut(name)
