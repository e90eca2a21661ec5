"""How two values compare: the common type of two operands, and keys that compare as SQL Server does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, implicit_conversion_refused, not_supported
from etl_cli.sandbox.standin.types import SqlType, SqlValue, Variant

Key = Callable[[SqlValue], Any]

# Variants of different families compare by this order (T-SQL "sql_variant", data type family hierarchy)
VARIANT_FAMILIES = ("uniqueidentifier", "binary", "text", "exact", "float", "temporal")


def key_function(kind: SqlType) -> Key | None:
    """Return the function whose results compare as the values do; None: the values themselves do."""
    if kind.is_text:
        return kind.rules.key(unicode=kind.is_unicode)
    if kind.name == "uniqueidentifier":
        return _guid_key
    if kind.is_binary:
        return lambda value: value.rstrip(b"\0")
    if kind.name == "datetimeoffset":
        return lambda value: value[0]
    if kind.name == "sql_variant":
        return _variant_key
    if kind.name == "xml" or kind.name in t.USER_TYPES:
        raise SqlError(305, f"The {kind.name} data type cannot be compared or sorted.")
    return None


def sort_key(kind: SqlType) -> Key:
    """Return a key that sorts NULL first, as ORDER BY does."""
    key = key_function(kind)
    if key is None:
        return lambda value: (value is not None, value)
    return lambda value: (False, None) if value is None else (True, key(value))


def _guid_key(value: bytes) -> bytes:
    """The last six bytes count most, then 8-9, 6-7, 4-5 and 0-3, each as it is stored."""
    return value[10:16] + value[8:10] + value[6:8] + value[4:6] + value[0:4]


def _variant_key(value: Variant) -> tuple[int, Any]:
    kind, content = value
    if kind.name == "uniqueidentifier":
        return 0, _guid_key(content)
    if kind.is_binary:
        return 1, content.rstrip(b"\0")
    if kind.is_text:
        return 2, kind.rules.key(unicode=kind.is_unicode)(content)
    if kind.is_exact:
        return 3, content * 10 ** (38 - kind.scale)
    if kind.is_float:
        return 4, content
    raise not_supported(f"comparing sql_variant of type {kind.name}")


def common_type(left: SqlType, right: SqlType) -> SqlType:
    """Return the type to which both operands are converted; see the documentation's precedence."""
    if left == right:
        return left
    high, low = (left, right) if t.RANK[left.name] <= t.RANK[right.name] else (right, left)
    if high.is_scaled and low.is_exact:
        return _common_exact(high, low)
    if high.is_text and low.is_text:
        return _common_text(high, low, left, right)
    if high.is_binary and low.is_binary:
        return t.varbinary(_longer(high.length, low.length))
    if high.name == low.name and high.is_temporal:
        return SqlType(high.name, scale=max(high.scale, low.scale))
    _refuse_odd_pair(high, low)
    return high


def _refuse_odd_pair(high: SqlType, low: SqlType) -> None:
    """Dates and numbers do not mix, nor does a modern date type with binary."""
    modern = high.is_temporal and high.name not in ("datetime", "smalldatetime")
    if (modern and (low.is_number or low.is_binary)) or (high.name == "uniqueidentifier" and low.is_number):
        raise SqlError(206, f"Operand type clash: {high.label} is incompatible with {low.label}")
    if high.name == "uniqueidentifier" and not (low.is_text or low.is_binary):
        raise implicit_conversion_refused(low.label, high.label)


def as_decimal(kind: SqlType) -> SqlType:
    """Return the decimal that holds every value of an exact type."""
    if kind.is_scaled:
        return t.decimal(kind.precision, kind.scale, kind.name if kind.name in t.DECIMALS else "decimal")
    digits = {"bit": 1, "tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}[kind.name]
    return t.decimal(digits, 0)


def _common_exact(high: SqlType, low: SqlType) -> SqlType:
    if high.name in t.MONEYS and (low.is_integer or low.name in t.MONEYS):
        return high
    left, right = as_decimal(high), as_decimal(low)
    scale = max(left.scale, right.scale)
    whole = max(left.precision - left.scale, right.precision - right.scale)
    name = high.name if high.name in t.DECIMALS else "decimal"
    return t.decimal(min(whole + scale, 38), min(scale, 38), name)


def _longer(one: int, other: int) -> int:
    return t.MAX if t.MAX in (one, other) else max(one, other)


def _common_text(high: SqlType, low: SqlType, left: SqlType, right: SqlType) -> SqlType:
    unicode = high.is_unicode or low.is_unicode
    length = t.MAX if high.is_large or low.is_large else max(high.length, low.length)
    return SqlType("nvarchar" if unicode else "varchar", length, collation=common_collation(left, right))


def common_collation(left: SqlType, right: SqlType) -> str:
    """Return the collation of two texts; a column's or COLLATE's wins over none, two different ones clash (468)."""
    if left.collation and right.collation and left.collation.lower() != right.collation.lower():
        raise SqlError(
            468,
            f'Cannot resolve the collation conflict between "{left.collation}" and "{right.collation}" in '
            "the equal to operation.",
        )
    return left.collation or right.collation
