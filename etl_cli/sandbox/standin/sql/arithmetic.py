"""+ - * / % and the bit operators: result types and values as T-SQL has them."""

from __future__ import annotations

import math
from collections.abc import Callable

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported, overflow
from etl_cli.sandbox.standin.sql.bound import Bound, converted, strict
from etl_cli.sandbox.standin.sql.compare import as_decimal, common_collation, common_type
from etl_cli.sandbox.standin.sql.convert import fit, fit_text, rescale
from etl_cli.sandbox.standin.types import SqlType, SqlValue


def divided_by_zero() -> SqlError:
    """Return 8134."""
    return SqlError(8134, "Divide by zero error encountered.")


def arithmetic(operator: str, left: Bound, right: Bound) -> Bound:
    """Return left operator right."""
    left, right = _typed(left, right), _typed(right, left)
    if operator == "+" and left.type.is_text and right.type.is_text:
        return _concatenation(left, right)
    if operator == "+" and left.type.is_binary and right.type.is_binary:
        length = _sum_length(left.type.length, right.type.length, 8000)
        return strict(t.varbinary(length), lambda a, b: a + b, left, right)
    if left.type.is_temporal or right.type.is_temporal:
        raise not_supported(f"{left.type.label} {operator} {right.type.label}")
    common = common_type(left.type, right.type)
    if common.is_float:
        return _floats(operator, converted(left, common), converted(right, common), common)
    if operator in "&|^":
        return _bits(operator, left, right, common)
    if common.is_integer:
        return _integers(operator, converted(left, common), converted(right, common), common)
    if common.name in t.MONEYS:
        return _moneys(operator, converted(left, common), converted(right, common), common)
    if common.is_scaled:
        return _decimals(operator, left, right)
    raise SqlError(
        402,
        f"The data types {left.type.label} and {right.type.label} are incompatible in the "
        f"{NAMES.get(operator, operator)} operator.",
    )


def _typed(side: Bound, other: Bound) -> Bound:
    """Give the NULL literal the other side's type."""
    return converted(side, other.type) if side.is_null and not other.is_null else side


NAMES = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "modulo"}


def _sum_length(one: int, other: int, limit: int) -> int:
    return t.MAX if t.MAX in (one, other) else min(one + other, limit)


def _concatenation(left: Bound, right: Bound) -> Bound:
    unicode = left.type.is_unicode or right.type.is_unicode
    length = (
        t.MAX
        if left.type.is_large or right.type.is_large
        else _sum_length(left.type.length, right.type.length, 4000 if unicode else 8000)
    )
    name = common_collation(left.type, right.type)
    kind = SqlType("nvarchar" if unicode else "varchar", length, collation=name)
    return strict(kind, lambda a, b: fit_text(kind, a + b), left, right)


def _cut_division(value: int, divisor: int) -> int:
    """Divide towards zero."""
    if divisor == 0:
        raise divided_by_zero()
    quotient = abs(value) // abs(divisor)
    return quotient if (value >= 0) == (divisor > 0) else -quotient


def _remainder(value: int, divisor: int) -> int:
    """The remainder has the dividend's sign."""
    if divisor == 0:
        raise divided_by_zero()
    rest = abs(value) % abs(divisor)
    return rest if value >= 0 else -rest


_EXACT: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": _cut_division, "%": _remainder,
}  # fmt: skip


def _integers(operator: str, left: Bound, right: Bound, common: SqlType) -> Bound:
    if common.name == "bit":
        raise SqlError(402, f"The data types bit and bit are incompatible in the {NAMES[operator]} operator.")
    operation = _EXACT[operator]

    def checked(a: int, b: int) -> int:
        value = operation(a, b)
        low, high = t.INTEGERS[common.name]
        if not low <= value <= high:
            raise overflow(common.name)
        return value

    return strict(common, checked, left, right)


def _bits(operator: str, left: Bound, right: Bound, common: SqlType) -> Bound:
    if not common.is_integer:
        raise not_supported(f"{operator} of {common.label}")
    operation: Callable[[int, int], int] = {"&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b}[
        operator
    ]
    return strict(common, operation, converted(left, common), converted(right, common))


def _moneys(operator: str, left: Bound, right: Bound, common: SqlType) -> Bound:
    if operator == "*":
        return strict(common, lambda a, b: fit(common, rescale(a * b, 8, 4)), left, right)
    if operator == "/":
        return strict(common, lambda a, b: fit(common, _cut_division(a * 10_000, b)), left, right)
    operation = _EXACT[operator]
    return strict(common, lambda a, b: fit(common, operation(a, b)), left, right)


def _floats(operator: str, left: Bound, right: Bound, common: SqlType) -> Bound:
    if operator not in "+-*/":
        raise not_supported(f"{operator} of float")

    def checked(a: float, b: float) -> SqlValue:
        if operator == "/" and b == 0:
            raise divided_by_zero()
        value = {"+": a + b, "-": a - b, "*": a * b}.get(operator) if operator != "/" else a / b
        if value is None or math.isinf(value):
            raise overflow("float")
        return value

    return strict(t.FLOAT if common.name == "float" else t.REAL, checked, left, right)


def operand_decimal(bound: Bound) -> SqlType:
    """Return the decimal as which an operand counts; an integer literal has only as many digits as it shows."""
    kind = as_decimal(bound.type)
    return t.decimal(bound.digits, 0) if bound.digits else kind


def decimal_result(operator: str, left: SqlType, right: SqlType) -> SqlType:
    """Return precision and scale (T-SQL "Precision, scale, and length")."""
    p1, s1, p2, s2 = left.precision, left.scale, right.precision, right.scale
    if operator in "+-":
        scale = max(s1, s2)
        return _sum_capped(max(p1 - s1, p2 - s2), scale)
    if operator == "*":
        return _product_capped(p1 + p2 + 1, s1 + s2)
    if operator == "/":
        scale = max(6, s1 + p2 + 1)
        return _product_capped(p1 - s1 + s2 + scale, scale)
    return t.decimal(min(p1 - s1, p2 - s2) + max(s1, s2), max(s1, s2), "numeric")


def _sum_capped(whole: int, scale: int) -> SqlType:
    precision = whole + scale + 1
    if precision <= 38:
        return t.decimal(precision, scale, "numeric")
    return t.decimal(38, max(min(scale, 38 - whole), 0), "numeric")


def _product_capped(precision: int, scale: int) -> SqlType:
    if precision <= 38:
        return t.decimal(precision, scale, "numeric")
    whole = precision - scale
    if whole < 32:
        return t.decimal(38, min(scale, 38 - whole), "numeric")
    return t.decimal(38, 6 if scale > 6 else scale, "numeric")


def _decimals(operator: str, left: Bound, right: Bound) -> Bound:
    if left.type.is_text or right.type.is_text:
        common = common_type(left.type, right.type)
        left, right = converted(left, common), converted(right, common)
    one, other = operand_decimal(left), operand_decimal(right)
    kind = decimal_result(operator, one, other)
    s1, s2, scale = one.scale, other.scale, kind.scale

    def combine(a: int, b: int) -> int:
        if operator == "*":
            return fit(kind, rescale(a * b, s1 + s2, scale))
        if operator == "/":
            return fit(kind, _cut_division(a * 10 ** (scale + s2), b * 10**s1))
        wide = max(s1, s2)
        value = _EXACT[operator](rescale(a, s1, wide), rescale(b, s2, wide))
        return fit(kind, rescale(value, wide, scale))

    return strict(kind, combine, converted(left, one), converted(right, other))


def negated(operand: Bound) -> Bound:
    """Return -operand."""
    kind = operand.type
    if kind.is_float:
        return strict(kind, lambda v: -v, operand)
    if kind.is_exact and kind.name not in ("bit", "tinyint"):
        minus = strict(kind, lambda v: fit(kind, -v), operand)
        return Bound(kind, minus.evaluate, minus.nullable, minus.constant, minus.stable, digits=operand.digits)
    if kind.name == "tinyint":
        return strict(t.SMALLINT, lambda v: -v, operand)
    raise SqlError(8117, f"Operand data type {kind.label} is invalid for minus operator.")
