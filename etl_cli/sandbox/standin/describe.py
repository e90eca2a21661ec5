"""sp_describe_undeclared_parameters: the types that drivers ask for before they bind NULLs and arrays.

Known are parameters that are given to a column (INSERT, UPDATE) or compared with one; others are error 11503.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin.catalogue.registry import describe
from etl_cli.sandbox.standin.catalogue.types import TYPES, max_length, precision_and_scale
from etl_cli.sandbox.standin.errors import SqlError, invalid_column
from etl_cli.sandbox.standin.results import ResultSet, encode_rows
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.leaves import LeafFactory
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.sql.sources import From
from etl_cli.sandbox.standin.sql.statements import parse_batch
from etl_cli.sandbox.standin.sql.tree import walk
from etl_cli.sandbox.standin.store.definitions import Table
from etl_cli.sandbox.standin.types import SqlType
from etl_cli.sandbox.standin.wire.tokens import ResultColumn
from etl_cli.sandbox.standin.wire.types import CODES, SIZES, decimal_size, wire_length

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

Pair = tuple[ast.Expression, ast.Expression]
_COLUMNS, _DEFAULTS = describe(
    "parameter_ordinal int, name sysname, suggested_system_type_id int, suggested_system_type_name nvarchar(256), "
    "suggested_max_length smallint, suggested_precision tinyint, suggested_scale tinyint, suggested_user_type_id int, "
    "suggested_user_type_database sysname, suggested_user_type_schema sysname, suggested_user_type_name sysname, "
    "suggested_assembly_qualified_type_name nvarchar(4000), suggested_xml_collection_id int, "
    "suggested_xml_collection_database sysname, suggested_xml_collection_schema sysname, "
    "suggested_xml_collection_name sysname, suggested_is_xml_document bit = 0, suggested_is_case_sensitive bit = 0, "
    "suggested_is_fixed_length_clr_type bit = 0, suggested_is_input bit = 1, suggested_is_output bit = 0, "
    "formal_parameter_name sysname, suggested_tds_type_id int, suggested_tds_length int"
)


def undeclared_parameters(text: str, context: ExecutionContext) -> ResultSet:
    """Return the suggested type of each undeclared parameter of a batch; 11503 for one that tells no type."""
    types: dict[str, SqlType] = {}
    names: list[str] = []
    for statement in parse_batch(text):
        names += [node.name for node in walk(statement) if isinstance(node, ast.Variable)]
        types.update(_types(statement, context))
    rows = []
    for ordinal, name in enumerate(sorted(set(names), key=_number), 1):
        if name not in types:
            raise SqlError(11503, f"The parameter type cannot be deduced because no use of '{name}' tells it.")
        rows.append(_row(ordinal, name, types[name]))
    columns = tuple(ResultColumn(name, kind) for name, kind in _COLUMNS)
    return ResultSet(columns, encode_rows(columns, rows))


def _number(name: str) -> tuple[int, str]:
    """@P2 comes before @P10."""
    digits = name.lstrip("@p")
    return (int(digits), name) if digits.isdigit() else (0, name)


def _types(statement: ast.Statement, context: ExecutionContext) -> Iterator[tuple[str, SqlType]]:
    factory = LeafFactory(context, lambda select, inner: inner.inner_query(select))
    if isinstance(statement, ast.Insert):
        yield from _inserted(statement, factory)
    elif isinstance(statement, (ast.Update, ast.Delete)):
        scope = From(ast.TableReference(statement.name, None), factory).scope
        assigned = statement.assignments if isinstance(statement, ast.Update) else ()
        pairs: list[Pair] = [(ast.Column((name.lower(),), name), node) for name, node in assigned if node is not None]
        yield from _compared([*pairs, *_pairs(statement.where)], scope)
    elif isinstance(statement, ast.Select):
        yield from _compared(_pairs(statement.where), From(statement.source, factory).scope)


def _inserted(statement: ast.Insert, factory: LeafFactory) -> Iterator[tuple[str, SqlType]]:
    table = factory.resolve(statement.name, "INSERT")
    if not isinstance(table, Table):
        return
    given = [column.name for column in table.columns if not column.is_written_by_server and column.identity is None]
    for row in statement.rows or ():
        for name, node in zip(statement.columns or given, row, strict=False):
            if name.lower() not in table.positions:
                raise invalid_column(name)
            if isinstance(node, ast.Variable):
                yield node.name, table.types[table.positions[name.lower()]]


def _pairs(where: ast.Expression | None) -> list[Pair]:
    found: list[Pair] = []
    for node in walk(where):
        if isinstance(node, ast.Comparison):
            found.append((node.left, node.right))
        elif isinstance(node, ast.InList):
            found += [(node.operand, item) for item in node.items]
        elif isinstance(node, ast.Like):
            found.append((node.operand, node.pattern))
    return found


def _compared(pairs: list[Pair], scope: Scope) -> Iterator[tuple[str, SqlType]]:
    for left, right in pairs:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, ast.Column) and isinstance(other, ast.Variable):
                yield other.name, scope.bind(one).type


def _row(ordinal: int, name: str, kind: SqlType) -> tuple[Any, ...]:
    precision, scale = precision_and_scale(kind)
    declared = "timestamp" if kind.name == "rowversion" else kind.declaration()
    values = {
        "parameter_ordinal": ordinal, "name": name, "suggested_system_type_id": TYPES[kind.name][0],
        "suggested_system_type_name": declared, "suggested_max_length": max_length(kind),
        "suggested_precision": precision, "suggested_scale": scale, "suggested_tds_type_id": CODES[kind.name],
        "suggested_tds_length": _tds_length(kind),
    }  # fmt: skip
    return tuple(values.get(key, default) for (key, _), default in zip(_COLUMNS, _DEFAULTS, strict=True))


def _tds_length(kind: SqlType) -> int:
    if kind.name in SIZES:
        return SIZES[kind.name]
    if kind.precision and kind.is_scaled:
        return decimal_size(kind.precision)
    return max_length(kind) if kind.is_temporal else wire_length(kind)
