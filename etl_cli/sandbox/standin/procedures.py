"""The few stored procedures that are known: by EXEC and by remote procedure call alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.context import ExecutionContext
from etl_cli.sandbox.standin.describe import undeclared_parameters
from etl_cli.sandbox.standin.errors import SqlError, not_supported, unknown_procedure
from etl_cli.sandbox.standin.results import Result, ResultSet, Silent, encode_rows
from etl_cli.sandbox.standin.sql.bound import Bound, constant, converted
from etl_cli.sandbox.standin.sql.cursor import Cursor
from etl_cli.sandbox.standin.sql.statements import parse_batch
from etl_cli.sandbox.standin.store.definitions import Table
from etl_cli.sandbox.standin.store.state import PropertyKey
from etl_cli.sandbox.standin.types import SqlType, Variant
from etl_cli.sandbox.standin.wire.tokens import ResultColumn

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.engine import Engine

Arguments = list[tuple[str, Bound]]


def execute(name: str, arguments: Arguments, engine: Engine, context: ExecutionContext) -> Iterator[Result]:
    """Run a procedure; 2812 for one that is not known."""
    plain = name.lower()
    if plain == "sp_executesql":
        yield from _execute_sql(arguments, engine)
    elif plain in ("sp_datatype_info_100", "sp_datatype_info"):
        yield _datatype_info(arguments)
    elif plain == "sp_describe_undeclared_parameters":
        yield undeclared_parameters(arguments[0][1].value, context)
    elif plain in ("sp_addextendedproperty", "sp_updateextendedproperty", "sp_dropextendedproperty"):
        _extended_property(plain, arguments, context)
        yield Silent()
    else:
        raise unknown_procedure(name)


def declared(text: str) -> list[tuple[str, SqlType]]:
    """Return names and types of a parameter list: N'@P1 int,@P2 nvarchar(10)'."""
    cursor = Cursor(text)
    found: list[tuple[str, SqlType]] = []
    while cursor.current.kind == "variable":
        name = cursor.advance().text.lower()
        cursor.accept("AS")
        found.append((name, cursor.data_type()))
        if cursor.accept("OUTPUT") or cursor.accept("OUT"):
            raise not_supported("an OUTPUT parameter of sp_executesql")
        if not cursor.accept_symbol(","):
            break
    if cursor.current.kind != "end":
        raise cursor.unexpected()
    return found


def bind_parameters(
    declarations: list[tuple[str, SqlType]], values: list[tuple[str, SqlType, Any]]
) -> dict[str, tuple[SqlType, Any]]:
    """Return the variables that a statement with parameters starts with; 8178 for a missing one."""
    named = {name.lower(): (kind, value) for name, kind, value in values if name}
    unnamed = [(kind, value) for name, kind, value in values if not name]
    variables: dict[str, tuple[SqlType, Any]] = {}
    for place, (name, kind) in enumerate(declarations):
        if name in named:
            given, value = named[name]
        elif place < len(unnamed):
            given, value = unnamed[place]
        else:
            raise SqlError(8178, f"The parameterized query expects the parameter '{name}', which was not supplied.")
        variables[name] = (kind, converted(constant(given, value), kind).value)
    return variables


def _execute_sql(arguments: Arguments, engine: Engine) -> Iterator[Result]:
    if not arguments:
        raise SqlError(201, "Procedure or function 'sp_executesql' expects parameter '@statement'.")
    text = arguments[0][1].value
    declarations = declared(arguments[1][1].value or "") if len(arguments) > 1 else []
    values = [(name, bound.type, bound.value) for name, bound in arguments[2:]]
    variables = bind_parameters(declarations, values)
    for statement in parse_batch(text):
        yield from engine.run(statement, variables)


# --- sp_datatype_info ------------------------------------------------------------------------------------------

# type name, ODBC type, column size, literal prefix, literal suffix, create parameters, searchable, scale range
_TYPES: tuple[tuple[str, int, int, str | None, str | None, str | None, int, int | None, int | None], ...] = (
    ("bit", -7, 1, None, None, None, 2, 0, 0), ("tinyint", -6, 3, None, None, None, 2, 0, 0),
    ("smallint", 5, 5, None, None, None, 2, 0, 0), ("int", 4, 10, None, None, None, 2, 0, 0),
    ("bigint", -5, 19, None, None, None, 2, 0, 0), ("numeric", 2, 38, None, None, "precision,scale", 2, 0, 38),
    ("decimal", 3, 38, None, None, "precision,scale", 2, 0, 38), ("money", 3, 19, "$", None, None, 2, 4, 4),
    ("smallmoney", 3, 10, "$", None, None, 2, 4, 4), ("real", 7, 24, None, None, None, 2, None, None),
    ("float", 6, 53, None, None, None, 2, None, None), ("char", 1, 8000, "'", "'", "length", 3, None, None),
    ("varchar", 12, 8000, "'", "'", "max length", 3, None, None),
    ("text", -1, 2147483647, "'", "'", None, 1, None, None), ("nchar", -8, 4000, "N'", "'", "length", 3, None, None),
    ("nvarchar", -9, 4000, "N'", "'", "max length", 3, None, None),
    ("ntext", -10, 1073741823, "N'", "'", None, 1, None, None), ("xml", -152, 0, "N'", "'", None, 1, None, None),
    ("binary", -2, 8000, "0x", None, "length", 2, None, None),
    ("varbinary", -3, 8000, "0x", None, "max length", 2, None, None),
    ("image", -4, 2147483647, "0x", None, None, 0, None, None),
    ("uniqueidentifier", -11, 36, "'", "'", None, 2, None, None), ("date", 91, 10, "'", "'", None, 3, None, None),
    ("time", -154, 16, "'", "'", "scale", 3, 0, 7), ("datetime2", 93, 27, "'", "'", "scale", 3, 0, 7),
    ("datetime", 93, 23, "'", "'", None, 3, 3, 3), ("smalldatetime", 93, 16, "'", "'", None, 3, 0, 0),
    ("datetimeoffset", -155, 34, "'", "'", "scale", 3, 0, 7), ("sql_variant", -150, 8000, None, None, None, 2, 0, 0),
)  # fmt: skip
_INFO_COLUMNS = tuple(
    ResultColumn(name, kind)
    for name, kind in (
        ("TYPE_NAME", t.SYSNAME), ("DATA_TYPE", t.SMALLINT), ("PRECISION", t.INT), ("LITERAL_PREFIX", t.varchar(32)),
        ("LITERAL_SUFFIX", t.varchar(32)), ("CREATE_PARAMS", t.varchar(32)), ("NULLABLE", t.SMALLINT),
        ("CASE_SENSITIVE", t.SMALLINT), ("SEARCHABLE", t.SMALLINT), ("UNSIGNED_ATTRIBUTE", t.SMALLINT),
        ("MONEY", t.SMALLINT), ("AUTO_INCREMENT", t.SMALLINT), ("LOCAL_TYPE_NAME", t.SYSNAME),
        ("MINIMUM_SCALE", t.SMALLINT), ("MAXIMUM_SCALE", t.SMALLINT), ("SQL_DATA_TYPE", t.SMALLINT),
        ("SQL_DATETIME_SUB", t.SMALLINT), ("NUM_PREC_RADIX", t.INT), ("INTERVAL_PRECISION", t.SMALLINT),
        ("USERTYPE", t.SMALLINT),
    )
)  # fmt: skip
_NUMBERS = frozenset({"bit", "tinyint", "smallint", "int", "bigint", "numeric", "decimal", "money", "smallmoney",
                      "real", "float"})  # fmt: skip


def _datatype_info(arguments: Arguments) -> ResultSet:
    wanted = arguments[0][1].value if arguments else 0
    rows = [_info_row(entry) for entry in _TYPES if not wanted or entry[1] == wanted]
    return ResultSet(_INFO_COLUMNS, encode_rows(_INFO_COLUMNS, rows))


def _info_row(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    name, number, size, prefix, suffix, create, searchable, low, high = entry
    numeric = name in _NUMBERS
    return (
        name, number, size, prefix, suffix, create, 1, 0, searchable, int(name == "tinyint") if numeric else None,
        int("money" in name), 0 if numeric else None, name, low, high,
        9 if number in (91, 93) else number, {91: 1, 93: 3}.get(number), (2 if name in ("real", "float") else 10)
        if numeric else None, None, 0,
    )  # fmt: skip


# --- extended properties ---------------------------------------------------------------------------------------

_LEVELS = ("@name", "@value", "@level0type", "@level0name", "@level1type", "@level1name", "@level2type", "@level2name")


def _extended_property(procedure: str, arguments: Arguments, context: ExecutionContext) -> None:
    order = _LEVELS if procedure != "sp_dropextendedproperty" else (_LEVELS[0], *_LEVELS[2:])
    given: dict[str, Bound] = {}
    for place, (name, bound) in enumerate(arguments):
        given[name or order[place]] = bound
    text = {name: None if name not in given else given[name].value for name in _LEVELS}
    key = _property_key(text, context)
    value = given.get("@value")
    known = key in context.transaction.state.properties
    if procedure == "sp_addextendedproperty" and known:
        raise SqlError(15233, f"Property cannot be added. Property '{key.name}' already exists.")
    if procedure != "sp_addextendedproperty" and not known:
        raise SqlError(15217, f"Cannot update or delete the property. Property '{key.name}' does not exist.")
    variant = None if value is None else _variant(value)
    context.transaction.edit(
        lambda state: replace(state, properties={
            **{other: kept for other, kept in state.properties.items() if other != key},
            **({key: variant} if variant is not None and procedure != "sp_dropextendedproperty" else {}),
        })
    )  # fmt: skip


def _variant(bound: Bound) -> Variant:
    value = bound.value
    return value if isinstance(value, Variant) else Variant(bound.type, value)


def _property_key(text: dict[str, Any], context: ExecutionContext) -> PropertyKey:
    kinds = [str(text[f"@level{level}type"] or "").upper() for level in range(3)]
    if kinds[0] not in ("SCHEMA", "USER") or kinds[1] not in ("TABLE", "VIEW") or kinds[2] not in ("", "COLUMN"):
        raise not_supported(f"extended properties of {' '.join(kind for kind in kinds if kind) or 'the database'}")
    found = context.transaction.find(text["@level0name"], text["@level1name"])
    if found is None:
        raise SqlError(15135, f"Object is invalid. Extended properties are not permitted on '{text['@level1name']}'.")
    minor = 0
    if kinds[2]:
        place = found.positions.get(str(text["@level2name"]).lower()) if isinstance(found, Table) else None
        if place is None or not isinstance(found, Table):
            raise SqlError(
                15135, f"Object is invalid. Extended properties are not permitted on '{text['@level2name']}'."
            )
        minor = found.columns[place].number
    return PropertyKey(found.object_id, minor, text["@name"])
