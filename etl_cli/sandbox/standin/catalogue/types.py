"""sys.types, and what the catalogue says of a type: ids, length in bytes, precision, scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.catalogue.registry import Values, view
from etl_cli.sandbox.standin.types import SqlType
from etl_cli.sandbox.standin.wire.types import decimal_size, time_size

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

# name -> (system_type_id, user_type_id, max_length, precision, scale) as sys.types shows them
TYPES: dict[str, tuple[int, int, int, int, int]] = {
    "image": (34, 34, 16, 0, 0), "text": (35, 35, 16, 0, 0), "uniqueidentifier": (36, 36, 16, 0, 0),
    "date": (40, 40, 3, 10, 0), "time": (41, 41, 5, 16, 7), "datetime2": (42, 42, 8, 27, 7),
    "datetimeoffset": (43, 43, 10, 34, 7), "tinyint": (48, 48, 1, 3, 0), "smallint": (52, 52, 2, 5, 0),
    "int": (56, 56, 4, 10, 0), "smalldatetime": (58, 58, 4, 16, 0), "real": (59, 59, 4, 24, 0),
    "money": (60, 60, 8, 19, 4), "datetime": (61, 61, 8, 23, 3), "float": (62, 62, 8, 53, 0),
    "sql_variant": (98, 98, 8016, 0, 0), "ntext": (99, 99, 16, 0, 0), "bit": (104, 104, 1, 1, 0),
    "decimal": (106, 106, 17, 38, 38), "numeric": (108, 108, 17, 38, 38), "smallmoney": (122, 122, 4, 10, 4),
    "bigint": (127, 127, 8, 19, 0), "hierarchyid": (240, 128, 892, 0, 0), "geometry": (240, 129, -1, 0, 0),
    "geography": (240, 130, -1, 0, 0), "varbinary": (165, 165, 8000, 0, 0), "varchar": (167, 167, 8000, 0, 0),
    "binary": (173, 173, 8000, 0, 0), "char": (175, 175, 8000, 0, 0), "rowversion": (189, 189, 8, 0, 0),
    "nvarchar": (231, 231, 8000, 0, 0), "nchar": (239, 239, 8000, 0, 0), "xml": (241, 241, -1, 0, 0),
}  # fmt: skip
SYSNAME = (231, 256, 256, 0, 0)


def max_length(kind: SqlType) -> int:
    """Return sys.columns.max_length: bytes, -1 for (max)."""
    if kind.name in t.DECIMALS:
        return decimal_size(kind.precision)
    if kind.name in ("time", "datetime2", "datetimeoffset"):
        return time_size(kind.scale) + {"time": 0, "datetime2": 3, "datetimeoffset": 5}[kind.name]
    if kind.is_text or kind.name in ("binary", "varbinary"):
        if kind.name in t.OLD_LARGE:
            return 16
        return -1 if kind.length == t.MAX else kind.length * (2 if kind.is_unicode else 1)
    return TYPES[kind.name][2]


def precision_and_scale(kind: SqlType) -> tuple[int, int]:
    """Return sys.columns.precision and scale."""
    if kind.name in t.DECIMALS:
        return kind.precision, kind.scale
    if kind.name in ("time", "datetime2", "datetimeoffset"):
        base = {"time": 8, "datetime2": 19, "datetimeoffset": 26}[kind.name]
        return base + (kind.scale + 1 if kind.scale else 0), kind.scale
    return TYPES[kind.name][3:]


def type_values(kind: SqlType) -> Values:
    """Return the columns of sys.columns that come from the type."""
    precision, scale = precision_and_scale(kind)
    return {
        "system_type_id": TYPES[kind.name][0], "user_type_id": TYPES[kind.name][1], "max_length": max_length(kind),
        "precision": precision, "scale": scale, "collation_name": kind.rules.name if kind.is_text else None,
    }  # fmt: skip


@view(
    "sys.types",
    "name sysname, system_type_id tinyint, user_type_id int, schema_id int = 4, principal_id int, max_length smallint, "
    "precision tinyint, scale tinyint, collation_name sysname, is_nullable bit = 1, is_user_defined bit = 0, "
    "is_assembly_type bit = 0, default_object_id int = 0, rule_object_id int = 0, is_table_type bit = 0",
)
def _types(context: ExecutionContext) -> Iterator[Values]:
    entries = {SqlType(name).label: entry for name, entry in TYPES.items()} | {"sysname": SYSNAME}
    for name, (system, user, length, precision, scale) in sorted(entries.items(), key=lambda item: item[1][1]):
        text = system in (35, 99, 167, 175, 231, 239)
        yield {
            "name": name, "system_type_id": system, "user_type_id": user, "max_length": length,
            "precision": precision, "scale": scale,
            "collation_name": context.session.database.collation if text else None,
            "is_nullable": int(name not in ("timestamp", "sysname")), "is_assembly_type": int(system == 240),
        }  # fmt: skip
