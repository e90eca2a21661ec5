"""Plans, catalogues and configurations in few words; what a test does not name has an ordinary value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.source.catalogue import Catalogue, Server, SourceColumn, SourceTable, UniqueIndex
from etl_cli.runtime.type_map import SourceType


def column_plan(name: str, sink_type: str, **changes: Any) -> ColumnPlan:
    """A column that keeps its name; `nullable` unless told otherwise."""
    values: dict[str, Any] = {
        "source": name,
        "target": name,
        "source_type": sink_type,
        "sink_type": sink_type,
        "expression": f"[{name}]",
        "nullable": True,
        "text": sink_type in ("text", "xml", "jsonb"),
    }
    return ColumnPlan(**{**values, **changes})


def table_plan(
    columns: Mapping[str, str] | Sequence[ColumnPlan], key: Sequence[str] = (), target: str = "orders", **changes: Any
) -> TablePlan:
    """A plan for `target` in schema public; columns as {name: Postgres type}, those of the key NOT NULL."""
    if isinstance(columns, Mapping):
        columns = [column_plan(name, kind, nullable=name not in key) for name, kind in columns.items()]
    values: dict[str, Any] = {
        "source_schema": "dbo",
        "source_name": target,
        "target_schema": "public",
        "target_name": target,
        "mode": "replace",
        "columns": tuple(columns),
        "key": tuple(key),
        "order": tuple(key),
        "shard_column": None,
        "where": None,
        "chunk_rows": 100_000,
        "chunk_bytes": 64_000_000,
        "apply": "auto",
        "validate": "counts",
        "allow_empty": False,
        "nul_characters": "fail",
    }
    return TablePlan(**{**values, **changes})


def source_type(text: str, collation: str | None = None) -> SourceType:
    """`nvarchar(50)`, `decimal(10,2)`, `datetime2(7)`, `varchar(max)`, `int` as the catalogue gives them."""
    match = re.fullmatch(r"(\w+)(?:\((\w+)(?:,(\d+))?\))?", text)
    assert match is not None, text
    name, first, second = match.groups()
    number = None if first is None else -1 if first == "max" else int(first)
    if name.lower() in ("decimal", "numeric"):
        return SourceType(name, precision=number, scale=int(second))
    if name.lower() in ("datetime2", "datetimeoffset", "time"):
        return SourceType(name, scale=number)
    if name.lower() == "float":
        return SourceType(name, precision=number or 53)
    return SourceType(name, length=number, collation=collation)


def source_column(declaration: str) -> SourceColumn:
    """`name type [NULL] [COLLATE x] [-- comment]`; NOT NULL unless told otherwise."""
    declaration, _, comment = declaration.partition(" -- ")
    name, kind, *rest = declaration.split()
    collation = rest[rest.index("COLLATE") + 1] if "COLLATE" in rest else None
    return SourceColumn(name, source_type(kind, collation), "NULL" in rest, comment or None)


def source_table(
    name: str,
    *columns: str | SourceColumn,
    primary: Sequence[str] = (),
    clustered: Sequence[str] | None = None,
    descending: bool = False,
    rows: int | None = None,
    is_view: bool = False,
    comment: str | None = None,
) -> SourceTable:
    """`schema.name`; the primary key is clustered unless another index is."""
    schema, _, table = name.partition(".")
    indexes = []
    if primary:
        indexes.append(UniqueIndex("pk", tuple(primary), clustered is None, True, descending))
    if clustered:
        indexes.append(UniqueIndex("clustered", tuple(clustered), True, False, descending))
    own = tuple(column if isinstance(column, SourceColumn) else source_column(column) for column in columns)
    return SourceTable(schema, table, is_view, own, tuple(indexes), comment, rows)


def catalogue(shard: str, *tables: SourceTable) -> Catalogue:
    """What the shard has."""
    server = Server("16.0.1000.6", 3, "sourcedb", True, False, "SQL_Latin1_General_CP1_CI_AS")
    return Catalogue(shard, server, {(table.schema, table.name): table for table in tables})


def config_data(tables: Sequence[object] = (), **changes: Any) -> dict[str, Any]:
    """config.yaml as data, with two shards; a table may be its source alone."""
    return {
        "name": "orders",
        "id": "7f3a9c1e",
        "source": {
            "user": "reader",
            "password": "source-secret",
            "database": "sourcedb",
            "shards": [{"name": "shard1", "host": "one"}, {"name": "shard2", "host": "two"}],
        },
        "sink": {"user": "writer", "password": "sink-secret", "database": "sinkdb"},
        "tables": [{"source": table} if isinstance(table, str) else table for table in tables],
        **changes,
    }


def config_of(*tables: object, **changes: Any) -> Config:
    """A validated configuration with these tables."""
    return Config.model_validate(config_data(tables, **changes))
