"""To bytes and to uniqueidentifier."""

from __future__ import annotations

import re
import struct

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, conversion_error, implicit_conversion_refused, not_supported
from etl_cli.sandbox.standin.sql.convert.numbers import Conversion
from etl_cli.sandbox.standin.types import SqlType


def fit_binary(target: SqlType, data: bytes) -> bytes:
    """Return bytes cut or padded with zeros to the target."""
    if target.is_large:
        return data
    data = data[: target.length]
    return data.ljust(target.length, b"\0") if target.name in ("binary", "rowversion") else data


def to_binary(source: SqlType, target: SqlType, style: int | None) -> Conversion:
    """Return the conversion to bytes."""
    if source.is_binary or source.name == "uniqueidentifier":
        return lambda value: fit_binary(target, value)
    if source.is_text:
        return _text_to_binary(source, target, style or 0)
    if source.is_integer:
        return lambda value: _integer_to_binary(value, source, target)
    if source.is_float:
        return _float_to_binary(source, target)
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
    """Big-endian."""
    size = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[source.name]
    return _number_bytes((value % (1 << 8 * size)).to_bytes(size, "big"), target)


def _float_to_binary(source: SqlType, target: SqlType) -> Conversion:
    """The IEEE number, big-endian."""
    layout = ">f" if source.name == "real" else ">d"
    return lambda value: _number_bytes(struct.pack(layout, value), target)


def _number_bytes(data: bytes, target: SqlType) -> bytes:
    """Return a number's bytes: the low ones when it is cut, zeros in front when it is fixed and longer."""
    size = len(data)
    if target.is_large or target.length >= size:
        return data.rjust(target.length, b"\0") if target.name in ("binary", "rowversion") else data
    return data[-target.length :]


def write_guid(value: bytes) -> str:
    """Return the upper-case text; the first three groups are little-endian."""
    text = (value[3::-1] + value[5:3:-1] + value[7:5:-1] + value[8:]).hex().upper()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_GUID = re.compile(r"\{?([0-9a-fA-F]{8})-([0-9a-fA-F]{4})-([0-9a-fA-F]{4})-([0-9a-fA-F]{4})-([0-9a-fA-F]{12})\}?")


def to_guid(source: SqlType, target: SqlType) -> Conversion:
    """Return the conversion to uniqueidentifier; text behind the 36 characters is not looked at."""
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
