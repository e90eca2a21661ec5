"""A bound expression: its type, and the function from a row to its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.sql.convert import conversion
from etl_cli.sandbox.standin.types import SqlType, SqlValue

# a row is a tuple of the sources' rows, each a tuple of the columns that the statement uses
SourceRow = Sequence[Any]
Evaluate = Callable[[SourceRow], SqlValue]
NO_ROW: SourceRow = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """constant: needs no row; stable: the same text gives the same values whoever asks and whenever.

    column: (source, position in its table) of a plain column.
    """

    type: SqlType
    evaluate: Evaluate
    nullable: bool = True
    constant: bool = False
    stable: bool = True
    column: tuple[int, int] | None = None
    is_null: bool = False  # the NULL literal, which takes any type
    digits: int = 0  # digits of an integer literal, which decide a decimal result's precision

    @property
    def value(self) -> SqlValue:
        """The value of a constant."""
        return self.evaluate(NO_ROW)


def constant(kind: SqlType, value: SqlValue, *, stable: bool = True, digits: int = 0) -> Bound:
    """Return a bound value."""
    return Bound(
        kind,
        lambda row: value,
        value is None,
        constant=True,
        stable=stable,
        is_null=value is None and stable,
        digits=digits,
    )


def converted(bound: Bound, kind: SqlType, style: int | None = None) -> Bound:
    """Return the expression as another type; a constant is converted once."""
    if bound.type == kind:
        return bound
    if bound.is_null:
        return Bound(kind, lambda row: None, constant=True)
    convert, inner = conversion(bound.type, kind, style), bound.evaluate
    if bound.constant:
        try:
            value = convert(bound.value)
        except SqlError:  # raised when, and if, a row asks for it
            return Bound(kind, lambda row: convert(inner(row)), bound.nullable, True, bound.stable)
        return Bound(kind, lambda row: value, bound.nullable, True, bound.stable)
    return Bound(kind, lambda row: convert(inner(row)), bound.nullable, bound.constant, bound.stable)


def derived(kind: SqlType, evaluate: Evaluate, *parts: Bound, nullable: bool | None = None) -> Bound:
    """Return an expression over parts."""
    return Bound(
        kind,
        evaluate,
        any(part.nullable for part in parts) if nullable is None else nullable,
        all(part.constant for part in parts),
        all(part.stable for part in parts),
    )


def strict(kind: SqlType, function: Callable[..., SqlValue], *parts: Bound) -> Bound:
    """Return function over parts, NULL when a part is NULL."""
    if len(parts) == 1:
        inner = parts[0].evaluate

        def one(row: SourceRow) -> SqlValue:
            value = inner(row)
            return None if value is None else function(value)

        return derived(kind, one, *parts)
    if len(parts) == 2:
        first, second = parts[0].evaluate, parts[1].evaluate

        def two(row: SourceRow) -> SqlValue:
            left, right = first(row), second(row)
            return None if left is None or right is None else function(left, right)

        return derived(kind, two, *parts)
    evaluates = [part.evaluate for part in parts]

    def many(row: SourceRow) -> SqlValue:
        values = [evaluate(row) for evaluate in evaluates]
        return None if None in values else function(*values)

    return derived(kind, many, *parts)


def as_text(bound: Bound) -> Bound:
    """Return the expression as text, nvarchar where it is not text already."""
    return bound if bound.type.is_text else converted(bound, t.nvarchar(4000))
