"""From the syntax tree to bound expressions, within a scope and a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.bulk.replay import ScanBudget
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.sql import arithmetic, ast, predicates, spatial
from etl_cli.sandbox.standin.sql.bound import Bound, SourceRow, constant, converted, derived, strict
from etl_cli.sandbox.standin.sql.compare import common_type
from etl_cli.sandbox.standin.sql.predicates import Predicate
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.sql.tree import walk
from etl_cli.sandbox.standin.types import SqlType, SqlValue

UNKNOWN_COLUMN, UNKNOWN_PREFIX = 207, 4104
PREDICATES = (ast.Comparison, ast.Logical, ast.Not, ast.IsNull, ast.InList, ast.InSelect, ast.Like, ast.Exists)


class Context(Protocol):
    """What an expression may ask of the session that runs it."""

    def variable(self, name: str) -> Bound:
        """Return @name or @@name; 137 when it is not declared."""

    def system_function(self, name: str, arguments: list[Bound]) -> Bound | None:
        """Return a function over session, server or catalogue; None when there is none of that name."""

    def scan_budget(self) -> ScanBudget:
        """Return what bounds the encoded rows that are kept."""

    def subquery(self, select: ast.Select, limit: int | None) -> tuple[tuple[SqlType, ...], list[tuple[SqlValue, ...]]]:
        """Run an inner query and return its types and at most limit rows."""


FunctionMaker = Callable[[str, list[Bound]], "Bound | None"]


class Binder:
    """Binds expressions; overrides maps whole pieces of tree to ready expressions (groups, aggregates)."""

    def __init__(
        self,
        scope: Scope,
        context: Context,
        functions: FunctionMaker,
        overrides: Mapping[ast.Expression, Bound] | None = None,
        *,
        grouped: bool = False,
    ) -> None:
        self.scope = scope
        self.context = context
        self.functions = functions
        self.overrides = overrides or {}
        self.grouped = grouped

    # --- scalars -----------------------------------------------------------------------------------------------

    def scalar(self, node: ast.Expression) -> Bound:
        """Bind a value; a predicate here is refused as SQL Server refuses it (4145 there, 102 here)."""
        if node in self.overrides:
            return self.overrides[node]
        if isinstance(node, PREDICATES):
            raise SqlError(102, "Incorrect syntax: a condition stands where a value is expected.", severity=15)
        bind: Callable[[ast.Expression], Bound] = getattr(self, f"_{type(node).__name__.lower()}")
        return bind(node)

    def _literal(self, node: ast.Literal) -> Bound:
        digits = len(str(abs(node.value))) if node.type == t.INT and node.value is not None else 0
        return constant(node.type, node.value, digits=digits)

    def _column(self, node: ast.Column) -> Bound:
        if self.grouped:
            raise SqlError(
                8120,
                f"Column '{node.spelled}' is invalid in the select list because it is not contained in either "
                "an aggregate function or the GROUP BY clause.",
            )
        return self.scope.bind(node)

    def _variable(self, node: ast.Variable) -> Bound:
        return self.context.variable(node.name)

    def _unary(self, node: ast.Unary) -> Bound:
        operand = self.scalar(node.operand)
        if node.operator == "-":
            return arithmetic.negated(operand)
        if node.operator == "~":
            if not operand.type.is_integer:
                raise not_supported(f"~ of {operand.type.label}")
            kind = operand.type
            low, high = t.INTEGERS[kind.name]
            return strict(kind, lambda v: ~v if low < 0 else high - v, operand)
        return operand

    def _binary(self, node: ast.Binary) -> Bound:
        return arithmetic.arithmetic(node.operator, self.scalar(node.left), self.scalar(node.right))

    def _scalarselect(self, node: ast.ScalarSelect) -> Bound:
        types, rows = self._inner(node.select, 2)
        if len(types) != 1:
            raise SqlError(116, "Only one expression can be specified in the select list.")
        if len(rows) > 1:
            raise SqlError(512, "Subquery returned more than 1 value.")
        value = rows[0][0] if rows else None
        return Bound(types[0], lambda row: value, constant=True, stable=False)

    def _inner(self, select: ast.Select, limit: int | None) -> tuple[tuple[SqlType, ...], list[tuple[SqlValue, ...]]]:
        """Run an inner query; one that wants a column of this query is refused by that name."""
        try:
            return self.context.subquery(select, limit)
        except SqlError as error:
            if error.number in (UNKNOWN_COLUMN, UNKNOWN_PREFIX):
                for node in walk(select, into_queries=True):
                    if isinstance(node, ast.Column) and self.scope.knows(node):
                        raise not_supported("a correlated subquery") from error
            raise

    def _case(self, node: ast.Case) -> Bound:
        whens = [self._when(node.operand, when) for when, _ in node.branches]
        results = [self.scalar(result) for _, result in node.branches]
        results.append(constant(t.INT, None) if node.otherwise is None else self.scalar(node.otherwise))
        kind = unified(results)
        values = [converted(result, kind).evaluate for result in results]

        def evaluate(row: SourceRow) -> SqlValue:
            for when, value in zip(whens, values, strict=False):
                if when(row):
                    return value(row)
            return values[-1](row)

        return Bound(kind, evaluate, True, False, all(result.stable for result in results))

    def _when(self, operand: ast.Expression | None, when: ast.Expression) -> Predicate:
        return self.predicate(when if operand is None else ast.Comparison("=", operand, when))

    def _cast(self, node: ast.Cast) -> Bound:
        operand = self.scalar(node.operand)
        style = None if node.style is None else converted(self.scalar(node.style), t.INT).value
        kind = node.type
        if kind.is_text and not kind.collation and operand.type.is_text:
            kind = kind.collated(operand.type.collation)
        if not node.forgiving:
            return converted(operand, kind, style)
        try:
            bound = converted(operand, kind, style)
        except SqlError as error:
            if error.number == 50000:
                raise
            return constant(kind, None)
        return derived(kind, _forgiving(bound), bound, nullable=True)

    def _collate(self, node: ast.Collate) -> Bound:
        operand = self.scalar(node.operand)
        if not operand.type.is_text:
            raise SqlError(447, f"Expression type {operand.type.label} is invalid for COLLATE clause.")
        return Bound(
            operand.type.collated(node.collation),
            operand.evaluate,
            operand.nullable,
            operand.constant,
            operand.stable,
        )

    def _function(self, node: ast.Function) -> Bound:
        if node.name == "IIF" and len(node.arguments) == 3:
            condition, yes, no = node.arguments
            return self._case(ast.Case(None, ((condition, yes),), no))
        if node.star or node.distinct:
            raise not_supported(f"{node.name} here")
        arguments = [self.scalar(argument) for argument in node.arguments]
        found = self.functions(node.name, arguments) or self.context.system_function(node.name, arguments)
        if found is None:
            raise not_supported(f"the function {node.name}")
        return found

    def _method(self, node: ast.Method) -> Bound:
        target = self.scalar(node.target)
        if target.type.name not in t.USER_TYPES:
            raise SqlError(258, f"Cannot call methods on {target.type.label}.")
        kind, read = METHODS.get(node.name, (None, None))
        if kind is None or read is None or node.arguments:
            raise not_supported(f"the method .{node.name}")
        if target.type.name == "hierarchyid" and node.name != "ToString":
            raise SqlError(6506, f"Could not find method '{node.name}' for type 'hierarchyid'.")
        return strict(kind, read, target)

    def _staticmethod(self, node: ast.StaticMethod) -> Bound:
        values = [self.scalar(argument).value for argument in node.arguments]
        name = node.name.lower()
        if name in ("parse", "stgeomfromtext", "stpointfromtext") and node.type in t.USER_TYPES:
            kind = SqlType(node.type)
            return constant(kind, None if None in values else spatial.parse(node.type, values[0], *values[1:2]))
        if name == "point" and node.type in ("geography", "geometry") and len(values) == 3:
            numbers = [converted(self.scalar(argument), t.FLOAT).value for argument in node.arguments[:2]]
            return constant(SqlType(node.type), spatial.point(node.type, numbers[0], numbers[1], values[2]))
        if name == "getroot" and node.type == "hierarchyid":
            return constant(SqlType(node.type), spatial.parse(node.type, "/"))
        raise not_supported(f"{node.type}::{node.name}")

    # --- predicates --------------------------------------------------------------------------------------------

    def predicate(self, node: ast.Expression) -> Predicate:
        """Bind a condition; 4145 for a plain value."""
        if isinstance(node, ast.Comparison):
            return predicates.comparison(node.operator, self.scalar(node.left), self.scalar(node.right))
        if isinstance(node, ast.Logical):
            parts = [self.predicate(part) for part in node.operands]
            return predicates.conjunction(parts) if node.operator == "AND" else predicates.disjunction(parts)
        if isinstance(node, ast.Not):
            return predicates.negation(self.predicate(node.operand))
        if isinstance(node, ast.IsNull):
            test = predicates.is_null(self.scalar(node.operand))
            return predicates.negation(test) if node.negated else test
        return self._other_predicate(node)

    def _other_predicate(self, node: ast.Expression) -> Predicate:
        if isinstance(node, ast.InList):
            operand = self.scalar(node.operand)
            test = predicates.in_list(operand, [self.scalar(item) for item in node.items])
            return predicates.negation(test) if node.negated else test
        if isinstance(node, ast.Like):
            escape = None if node.escape is None else self.scalar(node.escape)
            test = predicates.like(self.scalar(node.operand), self.scalar(node.pattern), escape)
            return predicates.negation(test) if node.negated else test
        if isinstance(node, ast.Exists):
            found = bool(self._inner(node.select, 1)[1])
            return lambda row: found
        if isinstance(node, ast.InSelect):
            types, rows = self._inner(node.select, None)
            items = [constant(types[0], row[0], stable=False) for row in rows]
            test = predicates.in_list(self.scalar(node.operand), items)
            return predicates.negation(test) if node.negated else test
        raise SqlError(
            4145,
            "An expression of non-boolean type specified in a context where a condition is expected.",
            severity=15,
        )


def _forgiving(bound: Bound) -> Callable[[SourceRow], SqlValue]:
    inner = bound.evaluate

    def evaluate(row: SourceRow) -> SqlValue:
        try:
            return inner(row)
        except SqlError as error:
            if error.number == 50000:
                raise
            return None

    return evaluate


METHODS: dict[str, tuple[SqlType, Callable[[SqlValue], SqlValue]]] = {
    "ToString": (t.nvarchar(), lambda value: value.text),
    "STAsText": (t.nvarchar(), lambda value: value.text),
    "AsTextZM": (t.nvarchar(), lambda value: value.text),
    "AsBinaryZM": (t.varbinary(), lambda value: value.data),
    "STAsBinary": (t.varbinary(), lambda value: value.flat),
    "STSrid": (t.INT, lambda value: value.srid),
}


def unified(bounds: list[Bound]) -> SqlType:
    """Return the type of CASE, COALESCE and their like; NULL literals do not count."""
    typed = [bound.type for bound in bounds if not bound.is_null]
    if not typed:
        return t.INT
    kind = typed[0]
    for other in typed[1:]:
        kind = common_type(kind, other)
    return kind
