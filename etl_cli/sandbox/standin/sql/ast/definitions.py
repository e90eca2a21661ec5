"""Statements that define: CREATE, ALTER, DROP, rights."""

from __future__ import annotations

from dataclasses import dataclass

from etl_cli.sandbox.standin.sql.ast.expressions import Expression, Name
from etl_cli.sandbox.standin.sql.ast.queries import Select
from etl_cli.sandbox.standin.types import SqlType


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
    """ALTER DATABASE name SET option value; options are those in brackets, each with its words."""

    name: str
    option: str
    value: str
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class AlterTable:
    """ALTER TABLE with one action: ADD, ALTER COLUMN, DROP COLUMN or CONSTRAINT, ENABLE or DISABLE CHANGE_TRACKING."""

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
