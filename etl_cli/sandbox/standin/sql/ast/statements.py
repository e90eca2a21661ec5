"""All other statements, and the union of all."""

from __future__ import annotations

from dataclasses import dataclass

from etl_cli.sandbox.standin.sql.ast.definitions import (
    AlterDatabase,
    AlterTable,
    CreateDatabase,
    CreateIndex,
    CreatePrincipal,
    CreateSchema,
    CreateTable,
    CreateView,
    Drop,
    Permission,
    Truncate,
)
from etl_cli.sandbox.standin.sql.ast.expressions import Expression, Name
from etl_cli.sandbox.standin.sql.ast.queries import Select
from etl_cli.sandbox.standin.types import SqlType


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
