"""Expressions over whole columns: a list of values at a time, for the shapes that scans and totals ask for.

What has no way of its own here is evaluated row by row, so that every expression has the same answer either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import md5, new
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.bulk.texts import temporal_texts
from etl_cli.sandbox.standin.collations import BINARY, BINARY2
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.convert import conversion
from etl_cli.sandbox.standin.sql.functions.text import HASHES
from etl_cli.sandbox.standin.sql.scope import SourceScope
from etl_cli.sandbox.standin.store.column_store import ColumnStore
from etl_cli.sandbox.standin.store.columns import Positions
from etl_cli.sandbox.standin.types import SqlType, SqlValue
from etl_cli.sandbox.standin.wire.values import payload_encoder

Values = list[SqlValue]
Read = Callable[[int, int, "Positions | None"], Values]  # places start..stop of a body, or the rows at positions
LONGEST_INTEGER = 20
SAFE_BIGINT_BYTES = 7


class ColumnReader:
    """Turns expressions over one body into functions that read lists of values."""

    def __init__(self, store: ColumnStore, binder: Binder, scope: SourceScope) -> None:
        self.store = store
        self.binder = binder
        self.scope = scope

    def reader(self, node: ast.Expression) -> Read:
        """Return the function that reads an expression's values."""
        bound = self.binder.scalar(node)
        if bound.constant:
            return lambda start, stop, positions: [bound.value] * _count(start, stop, positions)
        if bound.column is not None:
            return self._column(bound.column[1])
        make = _READERS.get(type(node))
        found = None if make is None else make(self, node, bound)
        return self._row_by_row(bound) if found is None else found

    def _column(self, ordinal: int) -> Read:
        column = self.store.columns[ordinal]
        return lambda start, stop, positions: (
            column.values(start, stop) if positions is None else column.pick(positions)
        )

    def _row_by_row(self, bound: Bound) -> Read:
        store, used, evaluate = self.store, self.scope.used, bound.evaluate

        def read(start: int, stop: int, positions: Positions | None) -> Values:
            if positions is None:
                columns = [store.columns[ordinal].values(start, stop) for ordinal in used]
            else:
                columns = [store.columns[ordinal].pick(positions) for ordinal in used]
            rows = zip(*columns, strict=True) if columns else [()] * _count(start, stop, positions)
            return [evaluate((row,)) for row in rows]

        return read

    # --- shapes ------------------------------------------------------------------------------------------------

    def mapped(self, node: ast.Expression, change: Callable[[Values], Values]) -> Read:
        """Return the reader of change over an inner expression's values."""
        inner = self.reader(node)
        return lambda start, stop, positions: change(inner(start, stop, positions))

    def constant(self, node: ast.Expression, kind: SqlType = t.INT) -> SqlValue:
        """Return a constant's value, None when the expression is none."""
        bound = self.binder.scalar(node)
        return converted(bound, kind).value if bound.constant else None


def _count(start: int, stop: int, positions: Positions | None) -> int:
    return stop - start if positions is None else len(positions)


def _collate(reader: ColumnReader, node: ast.Collate, bound: Bound) -> Read | None:
    return reader.reader(node.operand)


def _cast(reader: ColumnReader, node: ast.Cast, bound: Bound) -> Read | None:
    style = None if node.style is None else reader.constant(node.style)
    if node.forgiving or (node.style is not None and style is None):
        return None
    return reader.mapped(node.operand, _column_conversion(reader.binder.scalar(node.operand).type, bound.type, style))


def _column_conversion(source: SqlType, target: SqlType, style: int | None) -> Callable[[Values], Values]:
    """Return CONVERT over a list; the quick ways are for what cannot fail."""
    if source == target or _holds_as_it_is(source, target):
        return lambda values: values
    if target.is_text and target.name not in ("char", "nchar"):
        room = target.is_large or target.length
        if source.is_integer and source.name != "bit" and (room is True or room >= LONGEST_INTEGER):
            return lambda values: [None if value is None else str(value) for value in values]
        texts = temporal_texts(source, style) if source.is_temporal else None
        if texts is not None and (room is True or room >= texts.width):
            return texts
    if source.is_binary and target == t.BIGINT and 0 < source.length <= SAFE_BIGINT_BYTES:
        return lambda values: [None if value is None else int.from_bytes(value, "big") for value in values]
    if source.is_text and target == t.varbinary() and not style:
        encode = payload_encoder(source)
        return lambda values: [None if value is None else encode(value) for value in values]
    convert = conversion(source, target, style)
    return lambda values: [convert(value) for value in values]


def _holds_as_it_is(source: SqlType, target: SqlType) -> bool:
    """Whether every value of source is the same value of target."""
    if source.is_integer and target.name in t.DECIMALS and target.scale == 0:
        return target.precision >= 19
    if source.is_text and target.is_text and target.is_large:
        return target.name != "xml" and (target.is_unicode or target.rules.is_utf8 or _same_page(source, target))
    if source.name == target.name and source.name in ("datetime2", "time", "datetimeoffset"):
        return source.scale <= target.scale
    return False


def _same_page(source: SqlType, target: SqlType) -> bool:
    return source.name in t.CODE_PAGE_TEXT and source.rules.codec == target.rules.codec


def _function(reader: ColumnReader, node: ast.Function, bound: Bound) -> Read | None:
    make = _FUNCTIONS.get(node.name)
    return None if make is None else make(reader, node.arguments)


def _hashbytes(reader: ColumnReader, arguments: Sequence[ast.Expression]) -> Read | None:
    name = HASHES.get(str(reader.constant(arguments[0], t.nvarchar(20))).upper())
    kind = reader.binder.scalar(arguments[1]).type
    if name is None or not (kind.is_text or kind.is_binary):
        return None
    encode = bytes if kind.is_binary else payload_encoder(kind)
    make: Callable[[Any], Any] = md5 if name == "md5" else lambda data: new(name, data)
    return reader.mapped(
        arguments[1], lambda values: [None if value is None else make(encode(value)).digest() for value in values]
    )


def _substring(reader: ColumnReader, arguments: Sequence[ast.Expression]) -> Read | None:
    """Only of bytes: text counts in UTF-16 units."""
    start, length = (reader.constant(argument, t.BIGINT) for argument in arguments[1:])
    if start is None or length is None or start < 1 or length < 0:
        return None
    if not reader.binder.scalar(arguments[0]).type.is_binary:
        return None
    first, last = start - 1, start - 1 + length
    return reader.mapped(
        arguments[0], lambda values: [None if value is None else value[first:last] for value in values]
    )


def _left(reader: ColumnReader, arguments: Sequence[ast.Expression]) -> Read | None:
    """Only of varchar, whose characters are what LEFT counts."""
    count = reader.constant(arguments[1], t.BIGINT)
    kind = reader.binder.scalar(arguments[0]).type
    if count is None or count < 0 or kind.name not in t.CODE_PAGE_TEXT:
        return None
    return reader.mapped(arguments[0], lambda values: [None if value is None else value[:count] for value in values])


def _replace(reader: ColumnReader, arguments: Sequence[ast.Expression]) -> Read | None:
    """Only under a collation in which characters are themselves."""
    kind = reader.binder.scalar(arguments[0]).type
    old, by = (reader.constant(argument, t.nvarchar()) for argument in arguments[1:])
    if not kind.is_text or not kind.rules.flags & (BINARY | BINARY2) or not old or by is None or len(by) > len(old):
        return None  # what grows may have to be cut
    return reader.mapped(
        arguments[0], lambda values: [None if value is None else value.replace(old, by) for value in values]
    )


_READERS: dict[type, Callable[[ColumnReader, Any, Bound], Read | None]] = {
    ast.Collate: _collate,
    ast.Cast: _cast,
    ast.Function: _function,
}
_FUNCTIONS: dict[str, Callable[[ColumnReader, Sequence[ast.Expression]], Read | None]] = {
    "HASHBYTES": _hashbytes,
    "SUBSTRING": _substring,
    "LEFT": _left,
    "REPLACE": _replace,
}
