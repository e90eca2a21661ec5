"""To numbers: from other numbers, from text, from bytes."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import (
    SqlError,
    conversion_error,
    conversion_failed,
    implicit_conversion_refused,
    not_supported,
    overflow,
    small_overflow,
)
from etl_cli.sandbox.standin.types import SqlType, SqlValue

Conversion = Callable[[SqlValue], SqlValue]


def rounded_division(value: int, divisor: int) -> int:
    """Return value / divisor, halves away from zero."""
    quotient, rest = divmod(abs(value), divisor)
    quotient += rest * 2 >= divisor
    return quotient if value >= 0 else -quotient


def rescale(value: int, source: int, target: int) -> int:
    """Return a scaled int at another scale, halves away from zero."""
    if target >= source:
        return value * int(10 ** (target - source))
    return rounded_division(value, int(10 ** (source - target)))


def fit(target: SqlType, value: int) -> int:
    """Return an exact number that the target holds; 220 or 8115 otherwise. Anything but 0 is bit 1."""
    if target.name == "bit":
        return int(value != 0)
    if target.name in t.DECIMALS:
        if abs(value) >= 10**target.precision:
            raise overflow("numeric")
        return value
    low, high = t.INTEGERS.get(target.name) or t.MONEYS[target.name]
    if not low <= value <= high:
        small = target.name in ("tinyint", "smallint")
        raise small_overflow(target.name, value) if small else overflow(target.name)
    return value


def to_number(source: SqlType, target: SqlType) -> Conversion:
    """Return the conversion to a number."""
    if source.is_exact:
        return _exact_to_number(source, target)
    if source.is_float:
        return _float_to_number(target)
    if source.is_text:
        return lambda value: parse_number(value, source, target)
    if source.is_binary and target.is_integer:
        return lambda value: _binary_to_integer(value, target)
    if source.name in ("datetime", "smalldatetime"):
        raise not_supported(f"conversion of {source.name} to {target.name}")
    raise implicit_conversion_refused(source.label, target.label)


def _exact_to_number(source: SqlType, target: SqlType) -> Conversion:
    if target.is_float:
        divisor = 10**source.scale
        return lambda value: _single(target, value / divisor)
    if target.name == "bit":
        return lambda value: int(value != 0)
    if target.is_integer and source.name in t.DECIMALS:  # decimal is cut, money is rounded
        divisor = 10**source.scale
        return lambda value: fit(target, abs(value) // divisor * (1 if value >= 0 else -1))
    return lambda value: fit(target, rescale(value, source.scale, target.scale))


def _single(target: SqlType, value: float) -> float:
    """Return the value at real's 24 bits when the target is real."""
    if target.name == "float":
        return value
    try:
        single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise overflow("real") from None
    return single


def _float_to_number(target: SqlType) -> Conversion:
    if target.is_float:
        return lambda value: _single(target, value)
    if target.is_integer:
        return lambda value: fit(target, int(value != 0) if target.name == "bit" else math.trunc(value))

    def scaled(value: float) -> int:
        return fit(target, _scaled(Decimal(value), target.scale))

    return scaled


def _scaled(value: Decimal, scale: int) -> int:
    """Return value * 10**scale, halves away from zero, whatever the number of digits."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits)))
    shift = exponent + scale
    found = whole * int(10**shift) if shift >= 0 else rounded_division(whole, int(10**-shift))
    return -found if sign else found


_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_MONEY = re.compile(r"([+-]?)[$]?([+-]?)((?:[\d,]+\.?\d*|\.\d+))")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def parse_number(text: str, source: SqlType, target: SqlType) -> SqlValue:
    """Return the number that text says; 245 for an integer, 8114 for the others, when it says none."""
    stripped = text.strip(" \t\r\n")
    if target.name == "bit":
        return _parse_bit(stripped, source)
    if target.is_integer:
        if stripped == "":
            return 0
        if not _INTEGER.fullmatch(stripped):
            raise conversion_failed(text, source.name, target.name)
        return _fit_text(target, int(stripped), text, source)
    if target.is_float:
        if not _FLOAT.fullmatch(stripped or "0"):
            raise conversion_error(source.name, target.name)
        return _single(target, float(stripped or "0"))
    if target.name in t.MONEYS:
        return _parse_money(stripped, target)
    if not _DECIMAL.fullmatch(stripped):
        raise conversion_error(source.name, "numeric")
    return fit(target, _scaled(Decimal(stripped), target.scale))


def _fit_text(target: SqlType, value: int, text: str, source: SqlType) -> int:
    low, high = t.INTEGERS[target.name]
    if low <= value <= high:
        return value
    if target.name == "int":
        raise SqlError(248, f"The conversion of the {source.name} value '{text}' overflowed an int column.")
    raise overflow(target.name) if target.name == "bigint" else small_text_overflow(source, text, target)


def small_text_overflow(source: SqlType, text: str, target: SqlType) -> SqlError:
    """Return 244, text that is too large for tinyint or smallint."""
    label = {"tinyint": "INT1", "smallint": "INT2"}[target.name]
    return SqlError(
        244,
        f"The conversion of the {source.name} value '{text}' overflowed an {label} column. "
        "Use a larger integer column.",
    )


def _parse_bit(text: str, source: SqlType) -> int:
    lower = text.lower()
    if lower in ("true", "false"):
        return int(lower == "true")
    if not _INTEGER.fullmatch(text or "0"):
        raise conversion_failed(text, source.name, "bit")
    return int(int(text or "0") != 0)


def _parse_money(text: str, target: SqlType) -> int:
    found = _MONEY.fullmatch(text or "0")
    if found is None or (found[1] and found[2]):
        raise SqlError(235, "Cannot convert a char value to money. The char value has incorrect syntax.")
    value = _scaled(Decimal(found[3].replace(",", "")), 4)
    return fit(target, -value if "-" in (found[1], found[2]) else value)


def _binary_to_integer(value: bytes, target: SqlType) -> int:
    if target.name == "bit":
        return int(any(value))
    size = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[target.name]
    return int.from_bytes(value[-size:].rjust(size, b"\0"), "big", signed=size > 1)
