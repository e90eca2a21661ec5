"""SQL Server types, their Postgres types, and how each is selected from the source.

The table is the one of docs/types.md. A column travels in three forms: as the source's type, as the
Arrow type that its reader gives, and as the Postgres type whose binary form COPY wants.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.names import quote_source


@dataclass(frozen=True)
class SourceType:
    """A column's type as the source's catalogue gives it; lengths are characters, -1 is (max)."""

    name: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    collation: str | None = None

    def __str__(self) -> str:
        if self.name in ("decimal", "numeric"):
            return f"{self.name}({self.precision},{self.scale})"
        if self.name in ("datetime2", "datetimeoffset", "time"):
            return f"{self.name}({self.scale})"
        if self.name in _SIZED:
            return f"{self.name}({'max' if self.length == -1 else self.length})"
        return self.name


_SIZED = ("char", "varchar", "nchar", "nvarchar", "binary", "varbinary", "vector")

_FIXED = {
    "bit": "boolean",
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "money": "numeric(19,4)",
    "smallmoney": "numeric(10,4)",
    "real": "real",
    "date": "date",
    "datetime": "timestamp(3) without time zone",
    "smalldatetime": "timestamp(0) without time zone",
    "char": "text",
    "varchar": "text",
    "nchar": "text",
    "nvarchar": "text",
    "text": "text",
    "ntext": "text",
    "sysname": "text",
    "binary": "bytea",
    "varbinary": "bytea",
    "image": "bytea",
    "uniqueidentifier": "uuid",
    "xml": "xml",
    "json": "jsonb",
    "timestamp": "bytea",
    "rowversion": "bytea",
    "sql_variant": "text",
    "hierarchyid": "text",
    "geography": "bytea",
    "geometry": "bytea",
    "vector": "real[]",
}

TEXT_TYPES = frozenset({"text", "character varying", "xml", "jsonb"})
"""Postgres types whose values travel as UTF-8 text."""

LARGE_TYPES = frozenset({"text", "ntext", "image", "xml", "json"})


class UnsupportedTypeError(PlanError):
    """A source type that has no row in the table."""


def sink_type(source: SourceType, *, has_xml: bool = True) -> str:
    """The Postgres type of a source column, as `format_type` spells it.

    `has_xml` is False where the sink was built without XML: the column becomes text.
    Raises UnsupportedTypeError.
    """
    name = source.name.lower()
    if name in ("decimal", "numeric"):
        return f"numeric({source.precision},{source.scale})"
    if name == "float":
        return "real" if (source.precision or 53) <= 24 else "double precision"
    if name == "time":
        return "time(6) without time zone"
    if name == "datetime2":
        return f"timestamp({_digits(source)}) without time zone"
    if name == "datetimeoffset":
        return "timestamp with time zone"
    if name == "xml" and not has_xml:
        return "text"
    if name not in _FIXED:
        raise UnsupportedTypeError(f"type {source.name} has no counterpart here", "leave the column out with `columns`")
    return _FIXED[name]


@cache
def base_type(sink: str) -> str:
    """A Postgres type without the schema of its extension and without a length.

    `extensions.vector(3)` -> `vector`, `character varying(60)` -> `character varying`; what has none of
    these stays as it is, `numeric(10,2)` and `timestamp(3) without time zone` too.
    """
    match = re.search(r"(?:^|\.)([a-z ]+)(?:\(\d+\))?$", sink)
    return match[1] if match else sink


def select_expression(column: str, source: SourceType) -> str:
    """What stands in the select list for a column: converted by the server where no driver can."""
    quoted = quote_source(column)
    name = source.name.lower()
    if name == "sql_variant":
        return f"CAST({quoted} AS nvarchar(4000))"
    if name == "hierarchyid":
        return f"{quoted}.ToString()"
    if name in ("geography", "geometry"):
        return f"{quoted}.AsBinaryZM()"
    if name in ("json", "vector"):
        return f"CAST({quoted} AS nvarchar(max))"
    return quoted


def is_large(source: SourceType) -> bool:
    """Whether the driver reads the column piece by piece: a (max) type or one of the old large ones."""
    return source.length == -1 or source.name.lower() in LARGE_TYPES | {"vector", "geography", "geometry"}


def max_bytes(source: SourceType) -> int:
    """How many bytes a value may take in Arrow, by its declaration; a (max) type counts as one of 8,000 characters."""
    name = source.name.lower()
    length = 8_000 if source.length in (None, -1) else int(source.length or 0)
    if name in ("nchar", "nvarchar", "sysname", "char", "varchar", "ntext", "text", "xml", "json", "sql_variant"):
        return 3 * length  # as UTF-8
    if name in ("binary", "varbinary", "image", "hierarchyid", "geography", "geometry", "vector"):
        return length
    return 36 if name == "uniqueidentifier" else 16


def can_be_key(source: SourceType) -> bool:
    """Whether SQL Server can order and compare the column, so that it may be part of a key."""
    name = source.name.lower()
    return name not in LARGE_TYPES | {"geography", "geometry", "vector", "sql_variant"} and source.length != -1


_CURSORS = frozenset(
    {
        *("tinyint", "smallint", "int", "bigint", "decimal", "numeric"),
        *("date", "datetime", "smalldatetime", "datetime2", "datetimeoffset", "timestamp", "rowversion"),
    }
)


def why_no_cursor(source: SourceType) -> str:
    """Why a column of this type cannot be a cursor; "" where it can."""
    name = source.name.lower()
    if name == "uniqueidentifier":
        return "whose values do not grow, and which SQL Server orders by its last bytes first"
    if name in ("decimal", "numeric") and source.scale:
        return "which has digits behind the point"
    return "" if name in _CURSORS else "which has no order that grows with time"


def _digits(source: SourceType) -> int:
    """Postgres keeps six digits of a second; the seventh is cut off."""
    return min(6 if source.scale is None else source.scale, 6)
