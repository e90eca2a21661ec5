"""Functions of text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.collations import IGNORE_ACCENT, IGNORE_CASE
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.sql.bound import Bound, SourceRow, as_text, converted, derived, strict
from etl_cli.sandbox.standin.sql.convert import fit_text
from etl_cli.sandbox.standin.sql.functions.registry import ANY_NUMBER, register
from etl_cli.sandbox.standin.types import SqlType, SqlValue
from etl_cli.sandbox.standin.wire.types import decimal_size
from etl_cli.sandbox.standin.wire.values import payload_encoder

SUPPLEMENTARY = "_sc"
HASHES = {"MD5": "md5", "SHA": "sha1", "SHA1": "sha1", "SHA2_256": "sha256", "SHA2_512": "sha512"}


def _counts_characters(kind: SqlType) -> bool:
    return SUPPLEMENTARY in kind.collation.lower()


def _length(text: str, kind: SqlType) -> int:
    """LEN counts UTF-16 units, and characters under a supplementary collation."""
    return len(text) if _counts_characters(kind) or not kind.is_unicode else t.utf16_length(text)


@register("LEN", 1)
def _len(arguments: list[Bound]) -> Bound:
    text = as_text(arguments[0])
    kind = t.BIGINT if text.type.is_large else t.INT
    return strict(kind, lambda value: _length(value.rstrip(" "), text.type), text)


@register("DATALENGTH", 1)
def _datalength(arguments: list[Bound]) -> Bound:
    source = arguments[0]
    kind = t.BIGINT if source.type.is_large else t.INT
    if source.type.name in t.USER_TYPES or source.type.name == "sql_variant":
        raise not_supported(f"DATALENGTH of {source.type.name}")
    if source.type.name in t.DECIMALS:
        return strict(kind, lambda value: decimal_size(source.type.precision), source)
    encode = payload_encoder(source.type)
    return strict(kind, lambda value: len(encode(value)), source)


def _mapped(name: str, change: Callable[[str], str]) -> None:
    @register(name, 1)
    def maker(arguments: list[Bound]) -> Bound:
        text = as_text(arguments[0])
        kind = (
            text.type
            if text.type.name not in ("char", "nchar")
            else SqlType("n" * text.type.is_unicode + "varchar", text.type.length, collation=text.type.collation)
        )
        return strict(kind, change, text)


def _same_length(change: Callable[[str], str]) -> Callable[[str], str]:
    """Windows maps case one character to one: what Python would lengthen stays as it is."""
    return lambda text: "".join(mapped if len(mapped := change(char)) == 1 else char for char in text)


_mapped("UPPER", _same_length(str.upper))
_mapped("LOWER", _same_length(str.lower))
_mapped("LTRIM", lambda text: text.lstrip(" "))
_mapped("RTRIM", lambda text: text.rstrip(" "))
_mapped("TRIM", lambda text: text.strip(" "))
_mapped("REVERSE", lambda text: text[::-1])


def _units(text: Bound) -> tuple[Callable[[str], list[str]], Callable[[list[str]], str]]:
    """Return how a text is cut into what SUBSTRING counts, and put together again."""
    if _counts_characters(text.type) or not text.type.is_unicode:
        return list, "".join

    def cut(value: str) -> list[str]:
        if value.isascii():
            return list(value)
        data = value.encode("utf-16-le", "surrogatepass")
        return [data[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(data), 2)]

    def joined(units: list[str]) -> str:
        return "".join(units).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")

    return cut, joined


def _variable(kind: SqlType) -> SqlType:
    name = {"char": "varchar", "nchar": "nvarchar", "text": "varchar", "ntext": "nvarchar"}.get(kind.name, kind.name)
    return SqlType(name, t.MAX if kind.is_large else kind.length, collation=kind.collation)


def _shortened(kind: SqlType, count: Bound) -> SqlType:
    """Return the type of a part of so many characters: a constant bounds its length, as on SQL Server."""
    if not count.constant or kind.is_large:
        return kind
    try:
        value = converted(count, t.BIGINT).value
    except SqlError:  # raised when a row asks for it
        return kind
    return kind if value is None or not 0 < value < kind.length else replace(kind, length=value)


@register("SUBSTRING", 3)
def _substring(arguments: list[Bound]) -> Bound:
    source = arguments[0]
    start, length = (converted(argument, t.BIGINT) for argument in arguments[1:])
    if source.type.is_binary:
        kind = _shortened(t.varbinary(source.type.length), arguments[2])
        return strict(kind, lambda v, s, n: _slice(v, s, n), source, start, length)
    text = as_text(source)
    cut, joined = _units(text)
    kind = _shortened(_variable(text.type), arguments[2])
    return strict(kind, lambda v, s, n: joined(_slice(cut(v), s, n)), text, start, length)


def _slice(value: SqlValue, start: int, length: int) -> SqlValue:
    if length < 0:
        raise SqlError(537, "Invalid length parameter passed to the LEFT or SUBSTRING function.")
    return value[max(start - 1, 0) : max(start - 1 + length, 0)]


@register("LEFT", 2)
def _left(arguments: list[Bound]) -> Bound:
    text, length = as_text(arguments[0]), converted(arguments[1], t.BIGINT)
    cut, joined = _units(text)
    kind = _shortened(_variable(text.type), arguments[1])
    return strict(kind, lambda v, n: joined(_slice(cut(v), 1, n)), text, length)


@register("RIGHT", 2)
def _right(arguments: list[Bound]) -> Bound:
    text, length = as_text(arguments[0]), converted(arguments[1], t.BIGINT)
    cut, joined = _units(text)

    def last(value: str, count: int) -> str:
        units = cut(value)
        if count < 0:
            raise SqlError(536, "Invalid length parameter passed to the right function.")
        return joined(units[max(len(units) - count, 0) :])

    return strict(_variable(text.type), last, text, length)


@register("CONCAT", 2, ANY_NUMBER)
def _concat(arguments: list[Bound]) -> Bound:
    """NULL counts as ''."""
    unicode = any(argument.type.is_unicode for argument in arguments)
    large = any(argument.type.is_text and argument.type.is_large for argument in arguments)
    parts = [converted(argument, t.nvarchar() if unicode else t.varchar()) for argument in arguments]
    limit = t.MAX if large else 4000 if unicode else 8000
    kind = SqlType("nvarchar" if unicode else "varchar", limit)
    evaluates = [part.evaluate for part in parts]

    def evaluate(row: SourceRow) -> SqlValue:
        return fit_text(kind, "".join(inner(row) or "" for inner in evaluates))

    return derived(kind, evaluate, *arguments, nullable=False)


@register("REPLACE", 3)
def _replace(arguments: list[Bound]) -> Bound:
    texts = [as_text(argument) for argument in arguments]
    if texts[0].type.rules.flags & IGNORE_CASE:
        raise not_supported("REPLACE under a case-insensitive collation (add COLLATE Latin1_General_BIN2)")
    kind = replace_type([text.type for text in texts])
    return strict(kind, lambda v, old, new: fit_text(kind, v.replace(old, new)) if old else v, *texts)


def replace_type(kinds: list[SqlType]) -> SqlType:
    """Return REPLACE's type: nvarchar when one argument is, as long as its family gets, (max) when the first is."""
    unicode = any(kind.is_unicode for kind in kinds)
    limit = t.MAX if kinds[0].is_large else 4000 if unicode else 8000
    return SqlType("nvarchar" if unicode else "varchar", limit, collation=kinds[0].collation)


@register("REPLICATE", 2)
def _replicate(arguments: list[Bound]) -> Bound:
    text, count = as_text(arguments[0]), converted(arguments[1], t.INT)
    limit = t.MAX if text.type.is_large else 4000 if text.type.is_unicode else 8000
    kind = SqlType("nvarchar" if text.type.is_unicode else "varchar", limit, collation=text.type.collation)
    return strict(kind, lambda v, n: fit_text(kind, v * n) if n >= 0 else None, text, count)


@register("SPACE", 1)
def _space(arguments: list[Bound]) -> Bound:
    return strict(t.varchar(8000), lambda n: " " * n if n >= 0 else None, converted(arguments[0], t.INT))


@register("QUOTENAME", 1)
def _quotename(arguments: list[Bound]) -> Bound:
    text = converted(arguments[0], t.nvarchar(4000))
    return strict(t.nvarchar(258), lambda v: None if len(v) > 128 else f"[{v.replace(']', ']]')}]", text)


def _code_points(name: str, *, unicode: bool) -> None:
    @register(name, 1)
    def maker(arguments: list[Bound]) -> Bound:
        number = converted(arguments[0], t.INT)
        if unicode:
            return strict(t.SqlType("nchar", 1), lambda n: chr(n) if 0 <= n <= 0xFFFF else None, number)
        kind = t.SqlType("char", 1)
        return strict(kind, lambda n: kind.rules.decode(bytes([n])) if 0 <= n <= 255 else None, number)


_code_points("NCHAR", unicode=True)
_code_points("CHAR", unicode=False)


@register("UNICODE", 1)
def _unicode(arguments: list[Bound]) -> Bound:
    text = as_text(arguments[0])
    return strict(
        t.INT, lambda v: int.from_bytes(v.encode("utf-16-le", "surrogatepass")[:2], "little") if v else None, text
    )


@register("CHARINDEX", 2)
def _charindex(arguments: list[Bound]) -> Bound:
    needle, text = as_text(arguments[0]), as_text(arguments[1])
    flags = text.type.rules.flags
    if flags & IGNORE_ACCENT:
        raise not_supported(f"CHARINDEX under the collation {text.type.rules.name}")
    fold: Callable[[str], str] = str.lower if flags & IGNORE_CASE else lambda value: value
    return strict(t.INT, lambda n, v: fold(v).find(fold(n)) + 1 if n else 0, needle, text)


@register("HASHBYTES", 2)
def _hashbytes(arguments: list[Bound]) -> Bound:
    """nvarchar is hashed as UTF-16LE, varchar in its code page."""
    algorithm = HASHES.get(str(arguments[0].value).upper()) if arguments[0].constant else None
    source = arguments[1]
    if algorithm is None or not (source.type.is_text or source.type.is_binary):
        raise not_supported("HASHBYTES with this algorithm or type")
    encode = payload_encoder(source.type)
    return strict(t.varbinary(8000), lambda v: hashlib.new(algorithm, encode(v)).digest(), source)
