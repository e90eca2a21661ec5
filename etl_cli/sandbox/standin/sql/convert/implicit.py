"""Which conversions happen without CAST (T-SQL "Data type conversion", the chart of implicit conversions)."""

from __future__ import annotations

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.types import SqlType

MODERN_DATES = frozenset({"date", "time", "datetime2", "datetimeoffset"})


def refuse_explicit_only(source: SqlType, target: SqlType) -> None:
    """Raise 257 for a pair of types that only CAST and CONVERT bring together."""
    if source.name == target.name or target.name == "sql_variant":
        return
    if _is_explicit_only(source, target):
        raise SqlError(
            257,
            f"Implicit conversion from data type {source.label} to {target.label} is not allowed. Use the CONVERT "
            "function to run this query.",
            state=3,
        )


def _is_explicit_only(source: SqlType, target: SqlType) -> bool:
    if source.name in ("sql_variant", "xml") or source.name in t.USER_TYPES:
        return True
    if source.is_text:
        return target.is_binary
    if source.name in t.MONEYS:
        return target.is_text
    if source.is_temporal:
        return target.is_number or target.is_binary
    if source.is_binary:
        return target.is_float or target.name in MODERN_DATES or target.name in ("text", "ntext")
    return target.name in MODERN_DATES
