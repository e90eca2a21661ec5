"""COALESCE, ISNULL, NULLIF."""

from __future__ import annotations

from etl_cli.sandbox.standin.sql.binder import unified
from etl_cli.sandbox.standin.sql.bound import Bound, SourceRow, converted, derived
from etl_cli.sandbox.standin.sql.functions.registry import ANY_NUMBER, register
from etl_cli.sandbox.standin.sql.predicates import comparison
from etl_cli.sandbox.standin.types import SqlValue


@register("COALESCE", 2, ANY_NUMBER)
def _coalesce(arguments: list[Bound]) -> Bound:
    kind = unified(arguments)
    evaluates = [converted(argument, kind).evaluate for argument in arguments]

    def evaluate(row: SourceRow) -> SqlValue:
        return next((value for value in (inner(row) for inner in evaluates) if value is not None), None)

    return derived(kind, evaluate, *arguments, nullable=all(argument.nullable for argument in arguments))


@register("ISNULL", 2)
def _isnull(arguments: list[Bound]) -> Bound:
    """The first argument's type rules, as on SQL Server."""
    first, second = arguments
    if first.is_null:
        return second
    kind = first.type
    one, other = first.evaluate, converted(second, kind).evaluate

    def evaluate(row: SourceRow) -> SqlValue:
        value = one(row)
        return other(row) if value is None else value

    return derived(kind, evaluate, *arguments, nullable=first.nullable and second.nullable)


@register("NULLIF", 2)
def _nullif(arguments: list[Bound]) -> Bound:
    equal, inner = comparison("=", *arguments), arguments[0].evaluate
    return derived(arguments[0].type, lambda row: None if equal(row) else inner(row), *arguments, nullable=True)
