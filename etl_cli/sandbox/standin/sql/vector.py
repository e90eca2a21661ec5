"""Conditions over whole columns: comparisons with constants as arrays, the rest row by row."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.compare import key_function
from etl_cli.sandbox.standin.sql.predicates import OPERATORS, comparison_type
from etl_cli.sandbox.standin.sql.scope import SourceScope
from etl_cli.sandbox.standin.sql.tree import conjuncts
from etl_cli.sandbox.standin.store.column_store import ColumnStore
from etl_cli.sandbox.standin.store.columns import Mask, NumberColumn
from etl_cli.sandbox.standin.store.packed import compared, packed_value
from etl_cli.sandbox.standin.types import DECIMALS, SqlType

RANGES = frozenset({"<", "<=", ">", ">="})
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
        arrays = self.store.packed(ordinal)
        wanted = None if arrays is None else packed_value(common, value)
        if arrays is not None and wanted is not None and len(arrays) == len(wanted):
            return self._known(compared(operator, arrays, wanted), ordinal)
        if isinstance(self.store.columns[ordinal], NumberColumn):
            raise NotVectorisableError
        return self._by_keys(operator, ordinal, common, value)

    def _known(self, true: Any, ordinal: int) -> Truth:
        """NULL is unknown, whatever stands in its place."""
        column = self.store.columns[ordinal]
        if isinstance(column, NumberColumn) and column.missing is None:
            return Truth(true, np.zeros(self.store.count, np.bool_))
        missing = column.nulls()
        return Truth(true & ~missing, missing)

    def _by_keys(self, operator: str, ordinal: int, common: SqlType, value: Any) -> Truth:
        """Compare keys one by one, or, for a range, their places in the sorted order, which are kept."""
        key = key_function(common)
        wanted = value if key is None else key(value)
        if operator in RANGES or self.store.has_ranks(ordinal, common):
            return _by_ranks(operator, *self.store.ranks(ordinal, common), wanted)
        keys, compare, count = self.store.keys(ordinal, common), OPERATORS[operator], self.store.count
        true = np.fromiter((each is not None and compare(each, wanted) for each in keys), np.bool_, count)
        return Truth(true, np.fromiter((each is None for each in keys), np.bool_, count))


def _by_ranks(operator: str, ranks: NDArray[np.int64], distinct: list[Any], wanted: Any) -> Truth:
    place = bisect_left(distinct, wanted)
    found = place < len(distinct) and distinct[place] == wanted
    missing = ranks < 0
    if operator in ("=", "<>"):
        true = ranks == place if found else np.zeros(len(ranks), np.bool_)
        return Truth(true if operator == "=" else ~true & ~missing, missing)
    edge = place + (found and operator in ("<=", ">"))
    return Truth(~missing & (ranks < edge if operator in ("<", "<=") else ranks >= edge), missing)
