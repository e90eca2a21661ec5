"""Conditions over whole columns: comparisons with constants as arrays, the rest row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.compare import key_function
from etl_cli.sandbox.standin.sql.predicates import OPERATORS, comparison_type
from etl_cli.sandbox.standin.sql.scope import SourceScope
from etl_cli.sandbox.standin.sql.tree import conjuncts
from etl_cli.sandbox.standin.store.column_store import ColumnStore
from etl_cli.sandbox.standin.store.columns import Mask, NumberColumn
from etl_cli.sandbox.standin.types import DECIMALS, SqlType

MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Truth(NamedTuple):
    """Where a condition is true, and where it is unknown."""

    true: Mask
    unknown: Mask


class NotVectorisableError(Exception):
    """The condition wants the row-by-row way."""


def same_domain(column: SqlType, common: SqlType) -> bool:
    """Whether the column's stored values are values of the common type as they are."""
    if column.name == common.name and column.scale == common.scale:
        return True
    if column.is_integer and column.name != "bit":
        return common.is_integer or (common.name in DECIMALS and common.scale == 0)
    if column.name in DECIMALS:
        return common.name in DECIMALS and column.scale == common.scale
    if (column.is_text and common.is_text) or (column.is_binary and common.is_binary):
        return True
    return column.name == common.name and column.is_temporal


class ColumnFilter:
    """Finds the rows of a body for which a condition holds."""

    def __init__(self, store: ColumnStore, binder: Binder, scope: SourceScope) -> None:
        self.store = store
        self.binder = binder
        self.scope = scope

    def matching(self, where: ast.Expression | None) -> Mask | None:
        """Return where the condition is true, None for everywhere."""
        mask: Mask | None = None
        rest: list[ast.Expression] = []
        for part in conjuncts(where):
            try:
                found = self._truth(part).true
            except NotVectorisableError:
                rest.append(part)
                continue
            mask = found if mask is None else mask & found
        return self._row_by_row(mask, rest) if rest else mask

    def _row_by_row(self, mask: Mask | None, rest: list[ast.Expression]) -> Mask:
        node = rest[0] if len(rest) == 1 else ast.Logical("AND", tuple(rest))
        predicate = self.binder.predicate(node)
        positions = np.arange(self.store.count) if mask is None else np.flatnonzero(mask)
        rows = self.store.rows(self.scope.used, None if mask is None else positions)
        kept = np.fromiter((predicate((row,)) is True for row in rows), np.bool_, len(positions))
        found = np.zeros(self.store.count, np.bool_)
        found[positions[kept]] = True
        return found

    def _truth(self, node: ast.Expression) -> Truth:
        if isinstance(node, ast.Comparison):
            return self._comparison(node)
        if isinstance(node, ast.Logical):
            return self._logical(node)
        if isinstance(node, ast.Not):
            inner = self._truth(node.operand)
            return Truth(~inner.true & ~inner.unknown, inner.unknown)
        if isinstance(node, ast.IsNull):
            return self._is_null(node)
        if isinstance(node, ast.InList):
            equal = tuple(ast.Comparison("=", node.operand, item) for item in node.items)
            found = self._logical(ast.Logical("OR", equal))
            return Truth(~found.true & ~found.unknown, found.unknown) if node.negated else found
        raise NotVectorisableError

    def _logical(self, node: ast.Logical) -> Truth:
        parts = [self._truth(part) for part in node.operands]
        true, unknown = parts[0]
        for part in parts[1:]:
            if node.operator == "AND":
                false = (~true & ~unknown) | (~part.true & ~part.unknown)
                true = true & part.true
                unknown = ~true & ~false
            else:
                true = true | part.true
                unknown = (unknown | part.unknown) & ~true
        return Truth(true, unknown)

    def _is_null(self, node: ast.IsNull) -> Truth:
        bound = self.binder.scalar(node.operand)
        if bound.column is None:
            raise NotVectorisableError
        missing = self.store.columns[bound.column[1]].nulls()
        return Truth(~missing if node.negated else missing, np.zeros(self.store.count, np.bool_))

    def _comparison(self, node: ast.Comparison) -> Truth:
        left, right = self.binder.scalar(node.left), self.binder.scalar(node.right)
        operator = node.operator
        if left.column is None:
            left, right, operator = right, left, MIRRORED[operator]
        if left.column is None or not right.constant:
            raise NotVectorisableError
        return self._against_constant(operator, left, left.column[1], right)

    def _against_constant(self, operator: str, column: Bound, ordinal: int, other: Bound) -> Truth:
        common = comparison_type(column, other)
        if not same_domain(column.type, common):
            raise NotVectorisableError
        value = converted(other, common).value
        count = self.store.count
        if value is None:
            return Truth(np.zeros(count, np.bool_), np.ones(count, np.bool_))
        key = key_function(common)
        wanted = value if key is None else key(value)
        keys = self.store.keys(ordinal, common)
        compare = OPERATORS[operator]
        if isinstance(keys, np.ndarray):
            stored = self.store.columns[ordinal]
            assert isinstance(stored, NumberColumn)
            true: Any = compare(keys, wanted)
            if stored.missing is None:
                return Truth(true, np.zeros(count, np.bool_))
            return Truth(true & ~stored.missing, stored.missing)
        true = np.fromiter((each is not None and compare(each, wanted) for each in keys), np.bool_, count)
        return Truth(true, np.fromiter((each is None for each in keys), np.bool_, count))
