"""COUNT, SUM, AVG, MIN, MAX: result types and states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported, overflow
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.bound import Bound, constant
from etl_cli.sandbox.standin.sql.compare import key_function
from etl_cli.sandbox.standin.sql.convert import fit, rescale
from etl_cli.sandbox.standin.types import SqlType, SqlValue

NAMES = frozenset({"COUNT", "COUNT_BIG", "SUM", "AVG", "MIN", "MAX"})
UNSUPPORTED = frozenset({"STRING_AGG", "STDEV", "STDEVP", "VAR", "VARP", "CHECKSUM_AGG", "APPROX_COUNT_DISTINCT"})


def is_aggregate(node: object) -> bool:
    """Whether a piece of tree is an aggregate's call."""
    if isinstance(node, ast.Function) and node.name in UNSUPPORTED:
        raise not_supported(f"the aggregate {node.name}")
    return isinstance(node, ast.Function) and node.name in NAMES


class State:
    """What one aggregate has seen in one group."""

    def __init__(self, plan: Aggregate) -> None:
        self.plan = plan
        self.count = 0
        self.total: Any = 0
        self.best: SqlValue = None
        self._best_key: Any = None
        self._seen: set[Any] | None = set() if plan.distinct else None

    def add(self, value: SqlValue) -> None:
        """Take one value; NULL does not count."""
        if value is None:
            return
        if self._seen is not None:
            key = self.plan.key(value)
            if key in self._seen:
                return
            self._seen.add(key)
        self.count += 1
        if self.plan.sums:
            self.total += value
        elif self.plan.name in ("MIN", "MAX"):
            self._compare(value)

    def _compare(self, value: SqlValue) -> None:
        key = self.plan.key(value)
        better = self.count == 1 or (key < self._best_key if self.plan.name == "MIN" else key > self._best_key)
        if better:
            self.best, self._best_key = value, key

    def result(self) -> SqlValue:
        """Return the aggregate's value."""
        return self.plan.result(self)


@dataclass(frozen=True)
class Aggregate:
    """One aggregate of a query; argument None is COUNT(*)."""

    name: str
    argument: Bound
    type: SqlType
    distinct: bool
    star: bool
    key: Callable[[SqlValue], Any]
    node: ast.Expression | None = None  # the argument's piece of tree

    @property
    def sums(self) -> bool:
        """Whether values are added up."""
        return self.name in ("SUM", "AVG")

    def result(self, state: State) -> SqlValue:
        """Return the value of a group's state."""
        if self.name in ("COUNT", "COUNT_BIG"):
            return fit(self.type, state.count)
        if not state.count:
            return None
        if self.name in ("MIN", "MAX"):
            return state.best
        return self._sum(state) if self.name == "SUM" else self._average(state)

    def _sum(self, state: State) -> SqlValue:
        if self.type.is_float:
            return state.total
        low, high = t.INTEGERS.get(self.type.name, t.MONEYS.get(self.type.name, (-(10**38) + 1, 10**38 - 1)))
        if not low <= state.total <= high:
            raise overflow(self.type.name)
        return state.total

    def _average(self, state: State) -> SqlValue:
        """Integers, decimals and money are cut, not rounded."""
        if self.type.is_float:
            return state.total / state.count
        total = rescale(state.total, self.argument.type.scale, self.type.scale)
        return abs(total) // state.count * (1 if total >= 0 else -1)


def plan(node: ast.Function, argument: Bound | None) -> Aggregate:
    """Return the aggregate of a call; 8117 for a type that cannot be added up."""
    bound = argument or constant(t.INT, 1)
    kind = _result_type(node.name, bound.type)
    key = (key_function(bound.type) if node.distinct or node.name in ("MIN", "MAX") else None) or _same
    return Aggregate(node.name, bound, kind, node.distinct, node.star, key, next(iter(node.arguments), None))


def _same(value: SqlValue) -> SqlValue:
    return value


def _result_type(name: str, kind: SqlType) -> SqlType:
    if name in ("COUNT", "COUNT_BIG"):
        return t.INT if name == "COUNT" else t.BIGINT
    if name in ("MIN", "MAX"):
        if kind.name == "bit" or kind.is_large or kind.name in t.USER_TYPES:
            raise SqlError(8117, f"Operand data type {kind.label} is invalid for {name.lower()} operator.")
        return kind
    if not kind.is_number or kind.name == "bit":
        raise SqlError(8117, f"Operand data type {kind.label} is invalid for {name.lower()} operator.")
    if kind.is_float:
        return t.FLOAT
    if kind.is_integer:
        return t.BIGINT if kind.name == "bigint" else t.INT
    if kind.name in t.MONEYS:
        return t.MONEY
    return t.decimal(38, kind.scale if name == "SUM" else max(kind.scale, 6), kind.name)
