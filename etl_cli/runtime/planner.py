"""Resolves what a run will do, before it does anything: configuration + catalogues -> plan.

It decides and reads nothing: no database is asked here. All problems are collected, each with its remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etl_cli.runtime.config.model import Config, TableConfig, TypeRequest
from etl_cli.runtime.expansion import expand
from etl_cli.runtime.names import collisions, cut, fold
from etl_cli.runtime.plan import DELETED_AT, LINEAGE, ColumnPlan, Plan, TablePlan
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.source.catalogue import Catalogue, SourceColumn, SourceTable
from etl_cli.runtime.type_map import (
    TEXT_TYPES,
    UnsupportedTypeError,
    base_type,
    can_be_key,
    is_large,
    max_bytes,
    select_expression,
    sink_type,
    why_no_cursor,
)
from etl_cli.runtime.type_requests import EXTENSION_TYPES, offset_column, requested_type, requests_of, widest

Problems = list[str]

CUT_TYPES = ("datetime2(7)", "datetimeoffset(7)", "time(7)")
"""Types of which Postgres keeps six digits of a second."""

FIRST_WITH_UTF8 = 15
"""SQL Server 2019: the first whose collations can turn text into UTF-8."""


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
    expanded = [(table, name) for table, name in expand(config.tables, catalogues, problems) if request.takes(name)]
    if request.tables and not expanded:
        problems.append(f"{', '.join(request.tables)}: not among `tables`: name a source table as config.yaml does")
    problems += _named_twice([name for _, name in expanded])
    for table, name in expanded:
        planned = _TablePlanner(config, table, name, catalogues, has_xml, extension_types).plan()
        problems += planned.problems
        notes += planned.notes
        if planned.result is not None:
            tables.append(planned.result)
    problems += _target_collisions(tables)
    shards = tuple(catalogue.shard for catalogue in catalogues)
    return Plan(config.name, shards, tuple(tables)), problems, notes


def _target_collisions(tables: Sequence[TablePlan]) -> Problems:
    sources: dict[str, list[str]] = {}
    for table in tables:
        sources.setdefault(table.target, []).append(table.source)
        if table.track_changes:
            sources.setdefault(f"{table.target}_changes", []).append(f"the changes of {table.source}")
    return [
        f"{' and '.join(sorted(meeting))} would share the target {target}: give one of them its own `target`"
        for target, meeting in sources.items()
        if len(set(meeting)) > 1
    ]


def _named_twice(names: Sequence[tuple[str, str]]) -> Problems:
    folded = [(schema.lower(), name.lower()) for schema, name in names]
    twice = sorted({".".join(name) for name in folded if folded.count(name) > 1})
    return [f"{name} is named twice under `tables`: a run copies a table once; keep one entry" for name in twice]


class _TablePlanner:
    """Plans one table; keeps its problems and notes beside the result."""

    def __init__(
        self,
        config: Config,
        table: TableConfig,
        name: tuple[str, str],
        catalogues: Sequence[Catalogue],
        has_xml: bool,
        extension_types: Mapping[str, str],
    ) -> None:
        self._config = config
        self._table = table
        self._name = name
        self._catalogues = catalogues
        self._has_xml = has_xml
        self._extension_types = extension_types
        self._requests: Mapping[str, TypeRequest] = {}
        self.problems: Problems = []
        self.notes: Problems = []
        self.result: TablePlan | None = None
        self._wanted_names: set[str] = set()
        self._cursor: str | None = None

    @property
    def _label(self) -> str:
        return ".".join(self._name)

    def _problem(self, text: str) -> None:
        self.problems.append(f"{self._label}: {text}")

    def plan(self) -> _TablePlanner:
        """Fill `result`, or say in `problems` why there is none."""
        found = {c.shard: t for c in self._catalogues if (t := c.table(*self._name))}
        missing = [c.shard for c in self._catalogues if c.shard not in found]
        if missing:
            self._problem(
                f"does not exist (or may not be seen) on {', '.join(missing)}: "
                "create it there, grant SELECT, or take it out of `tables`"
            )
        if not found:
            return self
        first = next(iter(found.values()))
        columns = self._columns(found)
        key = self._key(found)
        self._check_mode(found, key)
        self._check_order(found, key)
        self._check_names(columns)
        if self.problems:
            return self
        self.result = self._assembled(first, found, columns, key)
        return self

    def _assembled(
        self, first: SourceTable, found: Mapping[str, SourceTable], columns: Sequence[ColumnPlan], key: tuple[str, ...]
    ) -> TablePlan:
        table = self._table
        target_of = {column.source: column.target for column in columns}
        shard_column = cut(fold(table.shard_column, table.names)) if table.shard_column else None
        target_key = tuple(target_of[name] for name in key)
        schema, name = self._target(first)
        return TablePlan(
            source_schema=first.schema,
            source_name=first.name,
            target_schema=schema,
            target_name=name,
            mode=table.mode,
            columns=tuple(columns),
            key=(*target_key, shard_column) if target_key and shard_column else target_key,
            order=self._order_of_mode(found, key),
            shard_column=shard_column,
            where=table.where,
            chunk_rows=table.chunk_rows,
            chunk_bytes=table.chunk_bytes,
            apply=table.apply,
            validate=table.validate_,
            allow_empty=table.allow_empty,
            nul_characters=table.nul_characters,
            cursor=self._cursor,
            lookback=table.lookback,
            contract=table.schema_,
            on_bad_row=table.on_bad_row,
            max_rejects=table.max_rejects,
            soft_delete=table.soft_delete,
            track_changes=table.track_changes,
            lineage=table.lineage,
            comment=first.comment,
            row_estimates={shard: t.row_estimate for shard, t in found.items()},
        )

    def _target(self, first: SourceTable) -> tuple[str, str]:
        """Schema and name in the sink, as Postgres stores them; only a configured target names a schema."""
        if self._table.target is None:
            return cut(self._config.sink.schema_), cut(fold(first.name, self._table.names))
        schema, _, name = self._table.target.rpartition(".")
        return cut(schema or self._config.sink.schema_), cut(name)

    def _columns(self, found: Mapping[str, SourceTable]) -> list[ColumnPlan]:
        first_shard, first = next(iter(found.items()))
        wanted = self._wanted(first)
        self._wanted_names = {column.name for column in wanted}
        self._requests, problems = requests_of(
            self._table, first, self._wanted_names, self._extension_types, self._config.defaults.types
        )
        for problem in problems:
            self._problem(problem)
        plans = []
        for column in wanted:
            others = {shard: t.column(column.name) for shard, t in found.items()}
            plan = self._column(column, others, first_shard)
            if plan:
                plans.append(plan)
            if plan and self._requests.get(column.name) == "offset":
                plans.append(offset_column(plan, self._table.names))
        self._report_extra_columns(first_shard, first, found)
        return plans

    def _wanted(self, first: SourceTable) -> list[SourceColumn]:
        if self._table.columns is None:
            return list(first.columns)
        wanted = []
        for name in self._table.columns:
            column = first.column(name)
            if column is None:
                self._problem(f"has no column {name}: its columns are {', '.join(c.name for c in first.columns)}")
            else:
                wanted.append(column)
        return wanted

    def _report_extra_columns(self, first_shard: str, first: SourceTable, found: Mapping[str, SourceTable]) -> None:
        if self._table.columns is not None:
            return
        for shard, table in found.items():
            extra = [c.name for c in table.columns if first.column(c.name) is None]
            if extra:
                self._problem(
                    f"columns differ: {shard} has {', '.join(extra)}, {first_shard} has not: "
                    "make the tables alike, or list the common ones under `columns`"
                )

    def _column(
        self, column: SourceColumn, others: Mapping[str, SourceColumn | None], first_shard: str
    ) -> ColumnPlan | None:
        lacking = [shard for shard, other in others.items() if other is None]
        if lacking:
            self._problem(
                f"columns differ: {first_shard} has {column.name}, {', '.join(lacking)} has not: "
                "make the tables alike, or list the common ones under `columns`"
            )
            return None
        types = {}
        for shard, other in others.items():
            if other is None:
                continue
            try:
                types[shard] = self._sink_type(other, self._requests.get(column.name))
            except UnsupportedTypeError as error:
                self._problem(f"column {column.name}: {error.message} ({shard}): {error.remedy}")
                return None
        types = widest(types)
        if len(set(types.values())) > 1:
            told = ", ".join(f"{shard} {others[shard].type} -> {kind}" for shard, kind in types.items())  # type: ignore[union-attr]
            self._problem(f"columns differ: {column.name} is not of one type on all shards ({told}): make them alike")
            return None
        return self._column_plan(column, types[first_shard], any(o.nullable for o in others.values() if o))

    def _sink_type(self, column: SourceColumn, request: TypeRequest | None) -> str:
        if request is None:
            return sink_type(column.type, has_xml=self._has_xml)
        return requested_type(request, column.type, self._extension_types)

    def _column_plan(self, column: SourceColumn, kind: str, nullable: bool) -> ColumnPlan:
        if column.type.name == "xml" and kind == "text":
            self.notes.append(f"{self._label}: column {column.name} becomes text, the sink is built without XML")
        return ColumnPlan(
            source=column.name,
            target=cut(fold(column.name, self._table.names)),
            source_type=str(column.type),
            sink_type=kind,
            expression=select_expression(column.name, column.type),
            nullable=nullable,
            comment=column.comment,
            text=base_type(kind) in TEXT_TYPES,
            utf16=column.type.name in ("nchar", "nvarchar", "ntext", "sysname"),
            large=is_large(column.type),
            collation=column.type.collation if base_type(kind) in ("text", "character varying") else None,
            max_bytes=max_bytes(column.type),
            spatial=column.type.name in ("geography", "geometry"),
        )

    def _key(self, found: Mapping[str, SourceTable]) -> tuple[str, ...]:
        """The key's source columns: the configured ones, else the primary key, else ()."""
        first = next(iter(found.values()))
        key = []
        for name in self._table.key or first.primary_key:
            column = first.column(name)
            if column is None or column.name not in self._wanted_names:
                why = "is not copied: add it to `columns`" if column else "does not exist: name the columns under `key`"
                self._problem(f"key column {name} {why}")
            else:
                key.append(column.name)
                self._check_key_column({shard: c for shard, table in found.items() if (c := table.column(name))})
        if not key and not self.problems:
            self.notes.append(f"{self._label}: has no key: copied as one chunk, and not resumable in mid-table")
        return tuple(key)

    def _check_key_column(self, columns: Mapping[str, SourceColumn]) -> None:
        first = next(iter(columns.values()))
        orderless = [shard for shard, column in columns.items() if not can_be_key(column.type)]
        nullable = [shard for shard, column in columns.items() if column.nullable]
        if orderless:
            kind = columns[orderless[0]].type
            self._problem(f"key column {first.name} is {kind}, which has no order: choose another `key`")
        elif nullable:
            self._problem(f"key column {first.name} may be NULL on {', '.join(nullable)}: choose another `key`")
        elif "_ci" in (first.type.collation or "").lower():
            self.notes.append(
                f"{self._label}: key column {first.name} ignores case on the source ({first.type.collation}), "
                "in Postgres 'a' and 'A' are two keys"
            )

    def _order_of_mode(self, found: Mapping[str, SourceTable], key: tuple[str, ...]) -> tuple[str, ...]:
        """(cursor, key) for what moves along a cursor, the key for what asks for changes by it."""
        if self._cursor is not None:
            return (self._cursor, *(name for name in key if name != self._cursor))
        return key if self._table.mode == "changes" else self._order(found, key)

    def _check_mode(self, found: Mapping[str, SourceTable], key: tuple[str, ...]) -> None:
        mode = self._table.mode
        if mode in ("append", "upsert") and self._table.cursor:
            self._cursor = self._checked_cursor(found, self._table.cursor)
        if mode in ("upsert", "sync", "changes") and not key:
            self._problem(f"mode {mode} needs a key to tell rows apart: name its columns under `key`")
        if mode in ("upsert", "append", "changes", "sync"):
            self._refuse_cut_keys(found, key)
        if mode == "append" and self._table.lookback and not key:
            self._problem("a lookback in mode append needs a key, or rows would come twice: name it under `key`")
        if mode == "changes":
            others = [shard for shard, table in found.items() if key and set(table.primary_key) != set(key)]
            if others:
                self._problem(f"mode changes goes by the primary key, which is another on {', '.join(others)}")
        if self._config.error_handling.on_shard_failure == "continue" and not self._table.shard_column:
            self._problem("on_shard_failure: continue needs a shard_column to keep a failed shard's rows apart")
        if self._table.validate_ == "checksums":
            old = [c.shard for c in self._catalogues if c.server.major_version < FIRST_WITH_UTF8]
            if old:
                self._problem(
                    f"validate: checksums needs SQL Server 2019 or newer, {', '.join(old)} is older: use counts"
                )

    def _refuse_cut_keys(self, found: Mapping[str, SourceTable], key: tuple[str, ...]) -> None:
        """Two keys that differ in the seventh digit of a second would become one row (trap 8 cuts it)."""
        for name in key:
            kinds = [column.type for table in found.values() if (column := table.column(name))]
            if any(str(kind) in CUT_TYPES for kind in kinds):
                self._problem(
                    f"key column {name} is {kinds[0]}, of which Postgres keeps six digits: rows could fall together: "
                    "choose another `key`, or mode replace"
                )

    def _check_order(self, found: Mapping[str, SourceTable], key: tuple[str, ...]) -> None:
        """A place in the order is written in one type and collation: they must be those of every shard."""
        for name in dict.fromkeys((*key, *self._order_of_mode(found, key))):
            types = {shard: column.type for shard, table in found.items() if (column := table.column(name))}
            alike = len({(str(kind), kind.collation) for kind in types.values()}) == 1
            if not alike and not self.problems and all(can_be_key(kind) for kind in types.values()):
                told = ", ".join(f"{shard} {kind} {kind.collation or ''}".strip() for shard, kind in types.items())
                self._problem(f"columns differ: {name} orders the rows and must be alike on all shards ({told})")

    def _checked_cursor(self, found: Mapping[str, SourceTable], name: str) -> str | None:
        columns = {shard: table.column(name) for shard, table in found.items()}
        first = next(iter(columns.values()))
        if first is None or first.name not in self._wanted_names:
            why = "is not copied: add it to `columns`" if first else "does not exist: name another under `cursor`"
            self._problem(f"cursor column {name} {why}")
            return None
        reason = why_no_cursor(first.type)
        if reason:
            self._problem(f"cursor column {name} is {first.type}, {reason}: choose another `cursor`, or mode sync")
        elif any(column is not None and column.nullable for column in columns.values()):
            self.notes.append(f"{self._label}: cursor column {name} may be NULL: rows without it are never read")
        return first.name

    def _order(self, found: Mapping[str, SourceTable], key: tuple[str, ...]) -> tuple[str, ...]:
        """The clustered unique index where every shard has it and all of its columns are copied, else the key.

        A column that may be NULL has no place in the order: a comparison with it is neither true nor false.
        """
        clustered = {table.clustered_unique for table in found.values()}
        if not key or len(clustered) != 1:
            return key
        names = next(iter(clustered))
        columns = [table.column(name) for table in found.values() for name in names]
        usable = names and all(
            c is not None and not c.nullable and can_be_key(c.type) and c.name in self._wanted_names for c in columns
        )
        return names if usable else key

    def _check_names(self, columns: Sequence[ColumnPlan]) -> None:
        names = [fold(column.source, self._table.names) for column in columns]
        shard_column = self._table.shard_column
        if shard_column:
            folded = fold(shard_column, self._table.names)
            if folded in names:
                self._problem(
                    f"has a column {folded} of its own: give the shard's another name with `shard_column`, or null"
                )
            else:
                names.append(folded)
        own = [*(LINEAGE if self._table.lineage else ()), *((DELETED_AT,) if self._table.soft_delete else ())]
        for name in own:
            if name in names:
                self._problem(f"has a column {name} of its own, which `lineage` and `soft_delete` use: leave it out")
        for short, meeting in collisions(names):
            self._problem(
                f"columns {' and '.join(meeting)} are one name in Postgres ({short}): leave one out with `columns`, "
                "or use names: keep"
            )
