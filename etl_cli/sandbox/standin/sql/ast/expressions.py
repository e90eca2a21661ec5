"""Expressions and predicates; they share one base, and the binder knows where each may stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.types import SqlType, SqlValue

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.sql.ast.queries import Select

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
