"""The syntax tree: frozen, hashable, so that equal pieces of text are equal pieces of tree.

Expressions and predicates share one base; the binder knows where each may stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from etl_cli.sandbox.standin.types import SqlType, SqlValue

Name = tuple[str, ...]  # one to four parts, the object's own name last


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant with its type; value None is the NULL literal."""

    type: SqlType
    value: SqlValue


@dataclass(frozen=True, slots=True)
class Column:
    """A column, perhaps qualified; parts are folded to lower case, spelled keeps the text."""

    parts: Name
    spelled: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """@name, or @@name."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """-x, +x or ~x."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic and string +."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Comparison:
    """= <> < <= > >=."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Logical:
    """AND or OR over two or more predicates."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """NOT p."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class IsNull:
    """x IS [NOT] NULL."""

    operand: Expression
    negated: bool


@dataclass(frozen=True, slots=True)
class InList:
    """x [NOT] IN (a, b)."""

    operand: Expression
    items: tuple[Expression, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class InSelect:
    """x [NOT] IN (SELECT ...)."""

    operand: Expression
    select: Select
    negated: bool


@dataclass(frozen=True, slots=True)
class Like:
    """x [NOT] LIKE pattern [ESCAPE c]."""

    operand: Expression
    pattern: Expression
    escape: Expression | None
    negated: bool


@dataclass(frozen=True, slots=True)
class Exists:
    """EXISTS (SELECT ...)."""

    select: Select


@dataclass(frozen=True, slots=True)
class ScalarSelect:
    """(SELECT one value)."""

    select: Select


@dataclass(frozen=True, slots=True)
class Case:
    """CASE [operand] WHEN .. THEN .. [ELSE ..] END."""

    operand: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression | None


@dataclass(frozen=True, slots=True)
class Cast:
    """CAST, CONVERT, TRY_CAST, TRY_CONVERT."""

    operand: Expression
    type: SqlType
    style: Expression | None = None
    forgiving: bool = False


@dataclass(frozen=True, slots=True)
class Collate:
    """x COLLATE name."""

    operand: Expression
    collation: str


@dataclass(frozen=True, slots=True)
class Function:
    """name(arguments); star for COUNT(*); name in upper case, schema-qualified names with their schema."""

    name: str
    arguments: tuple[Expression, ...] = ()
    star: bool = False
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """target.Name(arguments), of a hierarchyid or a geography."""

    target: Expression
    name: str
    arguments: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticMethod:
    """type::Name(arguments)."""

    type: str
    name: str
    arguments: tuple[Expression, ...] = ()


Expression = (
    Literal
    | Column
    | Variable
    | Unary
    | Binary
    | Comparison
    | Logical
    | Not
    | IsNull
    | InList
    | InSelect
    | Like
    | Exists
    | ScalarSelect
    | Case
    | Cast
    | Collate
    | Function
    | Method
    | StaticMethod
)


@dataclass(frozen=True, slots=True)
class Star:
    """* or t.*."""

    table: Name = ()


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One item of a select list."""

    expression: Expression | Star
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class TableReference:
    """A table or view of FROM."""

    name: Name
    alias: str | None
    line: int = 1


@dataclass(frozen=True, slots=True)
class DerivedTable:
    """(SELECT ...) AS alias."""

    select: Select
    alias: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ValuesTable:
    """(VALUES (..), (..)) AS alias(columns)."""

    rows: tuple[tuple[Expression, ...], ...]
    alias: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """left kind JOIN right ON condition; kind is INNER, LEFT, RIGHT, FULL or CROSS."""

    kind: str
    left: Source
    right: Source
    condition: Expression | None


Source = TableReference | DerivedTable | ValuesTable | Join


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One key of ORDER BY."""

    expression: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """A query; unions holds further ones that come behind it by UNION ALL."""

    items: tuple[SelectItem, ...]
    source: Source | None = None
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    having: Expression | None = None
    order: tuple[OrderItem, ...] = ()
    top: Expression | None = None
    offset: Expression | None = None
    fetch: Expression | None = None
    distinct: bool = False
    unions: tuple[Select, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column of CREATE TABLE or ALTER TABLE; type None is a computed column."""

    name: str
    type: SqlType | None
    nullable: bool | None = None
    identity: tuple[int, int] | None = None
    default: Expression | None = None
    computed: Expression | None = None
    computed_text: str = ""
    default_text: str = ""
    persisted: bool = False
    key: KeyDefinition | None = None
    rowguid: bool = False


@dataclass(frozen=True, slots=True)
class KeyDefinition:
    """PRIMARY KEY or UNIQUE; columns are (name, descending); name None is made up."""

    kind: str
    name: str | None
    clustered: bool | None
    columns: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class CreateTable:
    """CREATE TABLE."""

    name: Name
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...]


@dataclass(frozen=True, slots=True)
class CreateIndex:
    """CREATE INDEX."""

    name: str
    table: Name
    columns: tuple[tuple[str, bool], ...]
    included: tuple[str, ...]
    unique: bool
    clustered: bool


@dataclass(frozen=True, slots=True)
class CreateView:
    """CREATE [OR ALTER] VIEW."""

    name: Name
    columns: tuple[str, ...]
    select: Select
    text: str
    alter: bool


@dataclass(frozen=True, slots=True)
class CreateSchema:
    """CREATE SCHEMA."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateDatabase:
    """CREATE DATABASE."""

    name: str


@dataclass(frozen=True, slots=True)
class AlterDatabase:
    """ALTER DATABASE name SET option value."""

    name: str
    option: str
    value: str


@dataclass(frozen=True, slots=True)
class AlterTable:
    """ALTER TABLE with one action: ADD, ALTER COLUMN, DROP COLUMN, DROP CONSTRAINT, CHANGE_TRACKING."""

    name: Name
    action: str
    columns: tuple[ColumnDefinition, ...] = ()
    names: tuple[str, ...] = ()
    keys: tuple[KeyDefinition, ...] = ()
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """DROP TABLE | VIEW | INDEX | SCHEMA."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool
    table: Name = ()


@dataclass(frozen=True, slots=True)
class Truncate:
    """TRUNCATE TABLE."""

    name: Name


@dataclass(frozen=True, slots=True)
class Insert:
    """INSERT; rows None and select None is DEFAULT VALUES; an item None is DEFAULT."""

    name: Name
    columns: tuple[str, ...]
    rows: tuple[tuple[Expression | None, ...], ...] | None = None
    select: Select | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """UPDATE; an assignment's None is DEFAULT."""

    name: Name
    assignments: tuple[tuple[str, Expression | None], ...]
    where: Expression | None
    top: Expression | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE."""

    name: Name
    where: Expression | None
    top: Expression | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """SET option value; several options share a value."""

    options: tuple[str, ...]
    value: str
    name: Name = ()


@dataclass(frozen=True, slots=True)
class SetVariable:
    """SET @x = expression."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Declare:
    """DECLARE @x type [= expression]."""

    name: str
    type: SqlType
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """BEGIN, COMMIT, ROLLBACK or SAVE; name is the savepoint's."""

    action: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class If:
    """IF condition statement [ELSE statement]."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class WaitFor:
    """WAITFOR DELAY."""

    delay: Expression


@dataclass(frozen=True, slots=True)
class Use:
    """USE database."""

    database: str


@dataclass(frozen=True, slots=True)
class Execute:
    """EXEC procedure; an argument is (name or '', value)."""

    name: Name
    arguments: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class CreatePrincipal:
    """CREATE LOGIN or CREATE USER."""

    kind: str
    name: str
    password: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """GRANT, DENY or REVOKE of rights on an object; name () is the whole database."""

    action: str
    rights: tuple[str, ...]
    name: Name
    principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Print:
    """PRINT, answered with an INFO token."""

    value: Expression


@dataclass(frozen=True, slots=True)
class RaiseError:
    """RAISERROR or THROW with constants."""

    number: int
    message: Expression
    severity: Expression
    state: Expression


Statement = (
    Select
    | CreateTable
    | CreateIndex
    | CreateView
    | CreateSchema
    | CreateDatabase
    | AlterDatabase
    | AlterTable
    | Drop
    | Truncate
    | Insert
    | Update
    | Delete
    | Set
    | SetVariable
    | Declare
    | Transaction
    | If
    | WaitFor
    | Use
    | Execute
    | CreatePrincipal
    | Permission
    | Print
    | RaiseError
)
