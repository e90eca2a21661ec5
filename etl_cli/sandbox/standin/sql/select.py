"""Queries: bind, join, filter, group, project, order, cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.sql import aggregates, ast, functions
from etl_cli.sandbox.standin.sql.aggregates import Aggregate, State
from etl_cli.sandbox.standin.sql.binder import Binder, Context, unified
from etl_cli.sandbox.standin.sql.bound import Bound, Evaluate, converted
from etl_cli.sandbox.standin.sql.compare import key_function, sort_key
from etl_cli.sandbox.standin.sql.sources import From, LeafMaker
from etl_cli.sandbox.standin.sql.totals import totals_of
from etl_cli.sandbox.standin.sql.tree import walk
from etl_cli.sandbox.standin.types import SqlValue
from etl_cli.sandbox.standin.wire.tokens import ResultColumn

Row = tuple[SqlValue, ...]
Row_ = Any


@dataclass
class Output:
    """One column of the result: its expression, its name, and what metadata says of it."""

    bound: Bound
    name: str
    node: ast.Expression
    identity: bool = False
    computed: bool = True
    table: str = ""

    def result_column(self) -> ResultColumn:
        """Return what COLMETADATA says."""
        return ResultColumn(self.name, self.bound.type, self.bound.nullable, self.identity, self.computed, self.table)


class Query:
    """A bound query: columns are known, rows() runs it."""

    def __init__(self, select: ast.Select, context: Context, make_leaf: LeafMaker) -> None:
        self.select = select
        self.context = context
        self.source = From(select.source, make_leaf)
        self.plain = Binder(self.source.scope, context, functions.make)
        self.joined = self.source.plan(self.plain)
        self.where = None if select.where is None else self.plain.predicate(select.where)
        self.aggregates: list[Aggregate] = []
        self.groups: list[Bound] = []
        self.grouped = self._is_grouped()
        self.binder = self._grouped_binder() if self.grouped else self.plain
        self.outputs = [output for item in select.items for output in self._outputs(item)]
        self.having = None if select.having is None else self.binder.predicate(select.having)
        self.order = [(self._order_bound(item.expression), item.descending) for item in select.order]
        self.unions = [Query(part, context, make_leaf) for part in select.unions]
        if self.unions:
            self._unify()

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        """The result's columns."""
        return tuple(output.result_column() for output in self.outputs)

    # --- binding -----------------------------------------------------------------------------------------------

    def _is_grouped(self) -> bool:
        parts = (self.select.items, self.select.having, tuple(item.expression for item in self.select.order))
        found = [node for node in walk(parts) if aggregates.is_aggregate(node)]
        return bool(found) or bool(self.select.group) or self.select.having is not None

    def _grouped_binder(self) -> Binder:
        """Group keys and aggregates are read from the group's row, and nothing else is."""
        overrides: dict[ast.Expression, Bound] = {}
        for key in self.select.group:
            self.groups.append(self.plain.scalar(key))
            overrides[key] = _from_group(len(self.groups) - 1, self.groups[-1])
        parts = (self.select.items, self.select.having, tuple(item.expression for item in self.select.order))
        for node in walk(parts):
            if isinstance(node, ast.Function) and aggregates.is_aggregate(node) and node not in overrides:
                argument = self.plain.scalar(node.arguments[0]) if node.arguments else None
                plan = aggregates.plan(node, argument)
                self.aggregates.append(plan)
                place = len(self.groups) + len(self.aggregates) - 1
                nullable = plan.name not in ("COUNT", "COUNT_BIG")
                overrides[node] = Bound(plan.type, _read_group(place), nullable)
        return _GroupBinder(self.plain, overrides)

    def _outputs(self, item: ast.SelectItem) -> list[Output]:
        if isinstance(item.expression, ast.Star):
            return self._star(item.expression)
        bound = self.binder.scalar(item.expression)
        return [self._output(bound, item.alias, item.expression)]

    def _star(self, star: ast.Star) -> list[Output]:
        if not self.source.leaves:
            raise SqlError(263, "Must specify table to select from.")
        found: list[Output] = []
        for place, source in enumerate(self.source.scope.sources):
            if source.answers_to(star.table):
                for position, column in enumerate(source.columns):
                    node = ast.Column((*source.names[-1:], column.name.lower()), column.name)
                    bound = self.binder.scalar(node) if self.grouped else self.plain.scope.bind_at(place, position)
                    found.append(self._output(bound, column.name, node))
        if not found:
            raise SqlError(107, f"The column prefix '{'.'.join(star.table)}' does not match with a table name.")
        return found

    def _output(self, bound: Bound, alias: str | None, node: ast.Expression) -> Output:
        if bound.type.name == "sql_variant" and bound.is_null:
            bound = converted(bound, t.INT)
        if bound.column is None:
            return Output(bound, alias or "", node)
        place, position = bound.column
        source = self.source.scope.sources[place]
        column = source.columns[position]
        return Output(bound, alias or column.name, node, column.identity, column.computed, source.table)

    def _order_bound(self, node: ast.Expression) -> Bound | int:
        """Return an expression over the source, or the number of the output that is meant."""
        if isinstance(node, ast.Literal) and node.type == t.INT and node.value is not None:
            if not 1 <= node.value <= len(self.outputs):
                raise SqlError(
                    108,
                    f"The ORDER BY position number {node.value} is out of range of the number of items in the "
                    "select list.",
                )
            return int(node.value) - 1
        if isinstance(node, ast.Column) and len(node.parts) == 1:
            for place, output in enumerate(self.outputs):
                if output.name.lower() == node.parts[0]:
                    return place
        for place, output in enumerate(self.outputs):
            if output.node == node:
                return place
        if self.select.distinct or self.select.unions:
            raise SqlError(
                145, "ORDER BY items must appear in the select list if SELECT DISTINCT is specified.", severity=15
            )
        return self.binder.scalar(node)

    def _unify(self) -> None:
        for part in self.unions:
            if len(part.outputs) != len(self.outputs):
                raise SqlError(
                    205,
                    "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number "
                    "of expressions in their target lists.",
                )
        for place, output in enumerate(self.outputs):
            column = [output, *(part.outputs[place] for part in self.unions)]
            kind = unified([each.bound for each in column])
            for each in column:
                each.bound = converted(each.bound, kind)

    # --- running -----------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """Run the query and yield its rows."""
        rows = self._ordered()
        if self.select.distinct:
            rows = self._distinct(rows)
        skip, limit = self.limits()
        return islice(rows, skip, None if limit is None else skip + limit)

    def limits(self) -> tuple[int, int | None]:
        """Return how many rows are skipped, and how many are yielded at most (None: all)."""
        top, offset, fetch = (self._number(part) for part in (self.select.top, self.select.offset, self.select.fetch))
        return offset or 0, top if fetch is None else fetch

    def _number(self, node: ast.Expression | None) -> int | None:
        if node is None:
            return None
        value = converted(self.plain.scalar(node), t.BIGINT).value
        if value is None or value < 0:
            raise SqlError(1060, "The number of rows provided for a TOP or FETCH clauses row count must be positive.")
        return int(value)

    def _source_rows(self) -> Iterator[Row_]:
        rows = self.joined()
        if self.where is not None:
            where = self.where
            rows = (row for row in rows if where(row))
        if not self.grouped:
            return rows
        grouped = ((row,) for row in self._grouped(rows))
        having = self.having
        return grouped if having is None else (row for row in grouped if having(row))

    def _ordered(self) -> Iterator[Row]:
        evaluates = [output.bound.evaluate for output in self.outputs]
        if not self.order or (self.unions and not self.order):
            own = (tuple([evaluate(row) for evaluate in evaluates]) for row in self._source_rows())
            return chain(own, *(part.rows() for part in self.unions))
        pairs: list[tuple[Row_, Row]] = [
            (row, tuple([evaluate(row) for evaluate in evaluates])) for row in self._source_rows()
        ]
        for part in self.unions:
            pairs.extend((None, row) for row in part.rows())
        for bound, descending in reversed(self.order):
            pairs.sort(key=self._pair_key(bound), reverse=descending)
        return (row for _, row in pairs)

    def _pair_key(self, bound: Bound | int) -> Callable[[tuple[Row_, Row]], Any]:
        if isinstance(bound, int):
            key = sort_key(self.outputs[bound].bound.type)
            return lambda pair: key(pair[1][bound])
        key, evaluate = sort_key(bound.type), bound.evaluate
        return lambda pair: key(evaluate(pair[0]))

    def _distinct(self, rows: Iterator[Row]) -> Iterator[Row]:
        keys = [key_function(output.bound.type) for output in self.outputs]
        seen: set[tuple[Any, ...]] = set()
        for row in rows:
            identity = _identity(row, keys)
            if identity not in seen:
                seen.add(identity)
                yield row

    def _grouped(self, rows: Iterator[Row_]) -> Iterator[Row]:
        totals = totals_of(self)
        if totals is not None:
            yield totals
            return
        keys = [key_function(group.type) for group in self.groups]
        groups: dict[tuple[Any, ...], tuple[Row, list[State]]] = {}
        if not self.select.group:
            groups[()] = ((), [State(plan) for plan in self.aggregates])
        for row in rows:
            values = tuple(group.evaluate(row) for group in self.groups)
            identity = _identity(values, keys)
            if identity not in groups:
                groups[identity] = (values, [State(plan) for plan in self.aggregates])
            for state in groups[identity][1]:
                state.add(state.plan.argument.evaluate(row))
        for values, states in groups.values():
            yield (*values, *(state.result() for state in states))


def _identity(values: Row, keys: list[Any]) -> tuple[Any, ...]:
    return tuple(value if key is None or value is None else key(value) for value, key in zip(values, keys, strict=True))


def _from_group(place: int, key: Bound) -> Bound:
    return Bound(key.type, _read_group(place), key.nullable)


def _read_group(place: int) -> Evaluate:
    return lambda row: row[0][place]


class _GroupBinder(Binder):
    """Binds over groups: columns that are no group key are refused (8120); a key matches in any spelling."""

    def __init__(self, plain: Binder, overrides: dict[ast.Expression, Bound]) -> None:
        super().__init__(plain.scope, plain.context, plain.functions, overrides, grouped=True)
        self._by_column = {
            plain.scope.resolve(node): bound for node, bound in overrides.items() if isinstance(node, ast.Column)
        }

    def _column(self, node: ast.Column) -> Bound:
        found = self._by_column.get(self.scope.resolve(node))
        return super()._column(node) if found is None else found


def refuse_user_types(query: Query) -> None:
    """Raise 50000 where a column of a CLR type would go to the client as it is."""
    for output in query.outputs:
        if output.bound.type.name in t.USER_TYPES:
            raise not_supported(
                f"the column {output.name} of type {output.bound.type.name} as it is (use .ToString() or .AsBinaryZM())"
            )
