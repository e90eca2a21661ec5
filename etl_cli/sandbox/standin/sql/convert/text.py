"""To text: cut or padded to the type, numbers and dates in the styles of CONVERT."""

from __future__ import annotations

from collections.abc import Callable

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, implicit_conversion_refused, not_supported, overflow
from etl_cli.sandbox.standin.sql import temporal
from etl_cli.sandbox.standin.sql.convert.binary import write_guid
from etl_cli.sandbox.standin.sql.convert.numbers import Conversion, rescale
from etl_cli.sandbox.standin.types import SqlType, SqlValue


def fit_text(target: SqlType, text: str) -> str:
    """Return text cut to the target's length, in its code page, padded when it is char or nchar."""
    if target.is_unicode:
        return _fit_unicode(target, text)
    if text.isascii() and (target.is_large or len(text) <= target.length):
        return text.ljust(target.length) if target.name == "char" else text
    rules = target.rules
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


def to_text(source: SqlType, target: SqlType, style: int | None) -> Conversion:
    """Return the conversion to text or xml."""
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
