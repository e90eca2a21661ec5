"""CAST and CONVERT: from every type to every other that the stand-in knows, and what an assignment does."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

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
from etl_cli.sandbox.standin.sql import spatial, temporal
from etl_cli.sandbox.standin.types import SqlType, SqlValue, Variant

Conversion = Callable[[SqlValue], SqlValue]


def conversion(source: SqlType, target: SqlType, style: int | None = None) -> Conversion:
    """Return the function that turns a value of source into one of target; None stays None."""
    if source == target:
        return lambda value: value
    step = _step(source, target, style)
    return lambda value: None if value is None else step(value)


def _step(source: SqlType, target: SqlType, style: int | None) -> Conversion:
    if target.name == "sql_variant":
        return lambda value: value if isinstance(value, Variant) else Variant(source, value)
    if source.name == "sql_variant":
        return lambda value: conversion(value.type, target, style)(value.value)
    if target.is_text or target.name == "xml":
        return _to_text(source, target, style)
    if target.is_binary:
        return _to_binary(source, target, style)
    if target.is_number:
        return _to_number(source, target)
    if target.is_temporal:
        return _to_temporal(source, target)
    if target.name == "uniqueidentifier":
        return _to_guid(source, target)
    return _to_user_type(source, target)


# --- numbers ---------------------------------------------------------------------------------------------------


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


def _to_number(source: SqlType, target: SqlType) -> Conversion:
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
    import struct

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
        exact = Decimal(value).scaleb(target.scale)
        return fit(target, int(exact.to_integral_value(ROUND_HALF_UP)))

    return scaled


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
    return fit(target, int(Decimal(stripped).scaleb(target.scale).to_integral_value(ROUND_HALF_UP)))


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
    value = int(Decimal(found[3].replace(",", "")).scaleb(4).to_integral_value(ROUND_HALF_UP))
    return fit(target, -value if "-" in (found[1], found[2]) else value)


def _binary_to_integer(value: bytes, target: SqlType) -> int:
    if target.name == "bit":
        return int(any(value))
    size = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[target.name]
    return int.from_bytes(value[-size:].rjust(size, b"\0"), "big", signed=size > 1)


# --- text ------------------------------------------------------------------------------------------------------


def fit_text(target: SqlType, text: str) -> str:
    """Return text cut to the target's length, in its code page, padded when it is char or nchar."""
    if target.is_unicode:
        return _fit_unicode(target, text)
    rules = target.rules
    if target.is_large and text.isascii():
        return text
    data = rules.encode(text)
    if not target.is_large:
        data = data[: target.length]
        if target.name == "char":
            data = data.ljust(target.length, b" ")
    return _decode_whole(rules.decode, data)


def _decode_whole(decode: Callable[[bytes], str], data: bytes) -> str:
    """Decode; a character that was cut in the middle (UTF-8, double byte) is dropped."""
    for cut in range(4):
        try:
            return decode(data[: len(data) - cut])
        except UnicodeDecodeError:
            continue
    return decode(data)


def _fit_unicode(target: SqlType, text: str) -> str:
    if target.is_large:
        return text
    if len(text) * 2 > target.length and t.utf16_length(text) > target.length:
        text = text.encode("utf-16-le", "surrogatepass")[: target.length * 2].decode("utf-16-le", "surrogatepass")
    return text + " " * (target.length - t.utf16_length(text)) if target.name == "nchar" else text


def text_length(target: SqlType, text: str) -> int:
    """Return the length in the target's unit: UTF-16 units or code page bytes."""
    if text.isascii():
        return len(text)
    return t.utf16_length(text) if target.is_unicode else len(target.rules.encode(text))


def _to_text(source: SqlType, target: SqlType, style: int | None) -> Conversion:
    if target.name == "xml" and not (source.is_text or source.is_binary):
        raise implicit_conversion_refused(source.label, "xml")
    write = text_writer(source, style)
    if target.name == "xml":
        return write
    if source.is_text or source.name == "xml" or (source.is_binary and style is None):
        return lambda value: fit_text(target, write(value))

    def fitted(value: SqlValue) -> str:
        text = write(value)
        if not target.is_large and text_length(target, text) > target.length:
            return _too_long(source, target, text)
        return fit_text(target, text)

    return fitted


def _too_long(source: SqlType, target: SqlType, text: str) -> str:
    """Integers become '*', other numbers are an overflow, dates and binaries are cut."""
    if source.is_integer and source.name not in ("bit", "bigint") and not target.is_unicode:
        return fit_text(target, "*")
    if source.is_number:
        raise overflow(target.name)
    if source.name == "uniqueidentifier":
        raise SqlError(8170, "Insufficient result space to convert uniqueidentifier value to char.")
    return fit_text(target, text)


def text_writer(source: SqlType, style: int | None) -> Conversion:
    """Return the function that writes a value as text."""
    if source.is_text or source.name == "xml":
        return lambda value: value
    if source.is_integer:
        return str
    if source.name in t.DECIMALS:
        return lambda value: write_scaled(value, source.scale)
    if source.name in t.MONEYS:
        return lambda value: _write_money(value, style or 0)
    if source.is_float:
        return lambda value: _write_float(value, style or 0, source)
    if source.is_temporal:
        return lambda value: temporal.format_value(source, value, style)
    if source.name == "uniqueidentifier":
        return write_guid
    if source.is_binary:
        return _binary_writer(source, style or 0)
    if source.name in t.USER_TYPES:
        return lambda value: value.text
    raise not_supported(f"text of {source.name}")


def write_scaled(value: int, scale: int) -> str:
    """Return a decimal with all digits of its scale."""
    if scale == 0:
        return str(value)
    digits = str(abs(value)).rjust(scale + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _write_money(value: int, style: int) -> str:
    if style == 2:
        return write_scaled(value, 4)
    cents = write_scaled(rescale(value, 4, 2), 2)
    if style == 1:
        whole, _, rest = cents.lstrip("-").partition(".")
        return f"{'-' if value < 0 else ''}{int(whole):,}.{rest}"
    return cents


def _write_float(value: float, style: int, source: SqlType) -> str:
    if style == 0:
        return _general(value, 6)
    if style in (1, 2):
        return _scientific(value, 7 if style == 1 else 15)
    if style == 3:
        return _general(value, 9 if source.name == "real" else 17)
    raise not_supported(f"CONVERT of float with style {style}")


def _general(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text if text != "-0" else "0"
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{exponent[0]}{abs(int(exponent)):03d}"


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{exponent[0]}{abs(int(exponent)):03d}"


def _binary_writer(source: SqlType, style: int) -> Conversion:
    if style == 0:
        return lambda value: value.decode("cp1252", "standin-code-page")
    if style in (1, 2):
        return lambda value: ("0x" if style == 1 else "") + value.hex().upper()
    raise not_supported(f"CONVERT of {source.label} with style {style}")


# --- binary, guid, dates, the rest -----------------------------------------------------------------------------


def fit_binary(target: SqlType, data: bytes) -> bytes:
    """Return bytes cut or padded with zeros to the target."""
    if target.is_large:
        return data
    data = data[: target.length]
    return data.ljust(target.length, b"\0") if target.name in ("binary", "rowversion") else data


def _to_binary(source: SqlType, target: SqlType, style: int | None) -> Conversion:
    if source.is_binary or source.name == "uniqueidentifier":
        return lambda value: fit_binary(target, value)
    if source.is_text:
        return _text_to_binary(source, target, style or 0)
    if source.is_integer:
        return lambda value: _integer_to_binary(value, source, target)
    if source.name == "xml":
        return lambda value: fit_binary(target, b"\xff\xfe" + value.encode("utf-16-le", "surrogatepass"))
    if source.name in t.USER_TYPES:
        return lambda value: fit_binary(target, value.data)
    raise not_supported(f"conversion of {source.label} to {target.label}")


def _text_to_binary(source: SqlType, target: SqlType, style: int) -> Conversion:
    def hexadecimal(text: str) -> bytes:
        digits = text[2:] if style == 1 and text[:2].lower() == "0x" else text
        if (style == 1 and text[:2].lower() != "0x") or not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", digits):
            raise conversion_error(source.name, target.name)
        return fit_binary(target, bytes.fromhex(digits))

    if style in (1, 2):
        return hexadecimal
    if source.is_unicode:
        return lambda text: fit_binary(target, text.encode("utf-16-le", "surrogatepass"))
    return lambda text: fit_binary(target, source.rules.encode(text))


def _integer_to_binary(value: int, source: SqlType, target: SqlType) -> bytes:
    """Big-endian, the low bytes when it is cut, zeros in front when it is fixed and longer."""
    size = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[source.name]
    data = (value % (1 << 8 * size)).to_bytes(size, "big")
    if target.is_large or target.length >= size:
        return data.rjust(target.length, b"\0") if target.name in ("binary", "rowversion") else data
    return data[-target.length :]


def write_guid(value: bytes) -> str:
    """Return the upper-case text; the first three groups are little-endian."""
    text = (value[3::-1] + value[5:3:-1] + value[7:5:-1] + value[8:]).hex().upper()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_GUID = re.compile(r"\{?([0-9a-fA-F]{8})-([0-9a-fA-F]{4})-([0-9a-fA-F]{4})-([0-9a-fA-F]{4})-([0-9a-fA-F]{12})\}?")


def _to_guid(source: SqlType, target: SqlType) -> Conversion:
    if source.is_binary:
        return lambda value: value[:16].ljust(16, b"\0")
    if not source.is_text:
        raise implicit_conversion_refused(source.label, target.label)

    def parsed(text: str) -> bytes:
        found = _GUID.match(text)
        if found is None:
            raise SqlError(
                8169, "Conversion failed when converting from a character string to uniqueidentifier.", state=2
            )
        one, two, three, rest = (bytes.fromhex(part) for part in (*found.groups()[:3], found[4] + found[5]))
        return one[::-1] + two[::-1] + three[::-1] + rest

    return parsed


def _to_temporal(source: SqlType, target: SqlType) -> Conversion:
    if source.is_temporal:
        return lambda value: temporal.convert(source, target, value)
    if source.is_text:
        return lambda text: temporal.parse(target, text)
    if source.is_exact or source.is_float or source.is_binary:
        if target.name in ("datetime", "smalldatetime"):
            raise not_supported(f"conversion of {source.label} to {target.name}")
        raise implicit_conversion_refused(source.label, target.label)
    raise implicit_conversion_refused(source.label, target.label)


def _to_user_type(source: SqlType, target: SqlType) -> Conversion:
    if source.name == target.name:
        return lambda value: value
    if source.is_text:
        return lambda text: spatial.parse(target.name, text)
    raise implicit_conversion_refused(source.label, target.label)
