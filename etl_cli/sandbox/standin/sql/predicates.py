"""Predicates: comparison, LIKE, IN, AND, OR, NOT, each True, False or None (unknown)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.collations import IGNORE_ACCENT, IGNORE_CASE
from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.sql.bound import Bound, Evaluate, SourceRow, as_text, converted
from etl_cli.sandbox.standin.sql.compare import common_collation, common_type, key_function
from etl_cli.sandbox.standin.sql.convert.implicit import refuse_explicit_only
from etl_cli.sandbox.standin.types import SqlType

Predicate = Callable[[SourceRow], "bool | None"]
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def keyed(left: Bound, right: Bound) -> tuple[Evaluate, Evaluate]:
    """Return both sides as keys that compare as T-SQL compares the values; NULL stays None."""
    common = comparison_type(left, right)
    for side in (left, right):
        if not side.is_null:
            refuse_explicit_only(side.type, common)
    return _keyed(converted(left, common), common), _keyed(converted(right, common), common)


def comparison_type(left: Bound, right: Bound) -> SqlType:
    """Return the type in which two expressions are compared."""
    if left.is_null or right.is_null:
        return right.type if left.is_null else left.type
    if left.type.name in t.OLD_LARGE or right.type.name in t.OLD_LARGE:
        raise SqlError(
            402, f"The data types {left.type.label} and {right.type.label} are incompatible in the equal to operator."
        )
    return common_type(left.type, right.type)


def _keyed(side: Bound, common: SqlType) -> Evaluate:
    key, inner = key_function(common), side.evaluate
    if side.constant:
        inner = _once(inner)
    if key is None:
        return inner

    def evaluate(row: SourceRow) -> Any:
        found = inner(row)
        return None if found is None else key(found)

    return evaluate


def _once(inner: Evaluate) -> Evaluate:
    """Evaluate a constant at its first use."""
    found: list[Any] = []

    def evaluate(row: SourceRow) -> Any:
        if not found:
            found.append(inner(row))
        return found[0]

    return evaluate


def comparison(symbol: str, left: Bound, right: Bound) -> Predicate:
    """Return left symbol right."""
    one, other = keyed(left, right)
    compare = OPERATORS[symbol]

    def evaluate(row: SourceRow) -> bool | None:
        a, b = one(row), other(row)
        return None if a is None or b is None else compare(a, b)

    return evaluate


def in_list(operand: Bound, items: Sequence[Bound]) -> Predicate:
    """Return operand IN (items)."""
    return disjunction([comparison("=", operand, item) for item in items])


def conjunction(parts: Sequence[Predicate]) -> Predicate:
    """Return AND."""

    def evaluate(row: SourceRow) -> bool | None:
        unknown = False
        for part in parts:
            found = part(row)
            if found is False:
                return False
            unknown = unknown or found is None
        return None if unknown else True

    return evaluate


def disjunction(parts: Sequence[Predicate]) -> Predicate:
    """Return OR."""

    def evaluate(row: SourceRow) -> bool | None:
        unknown = False
        for part in parts:
            found = part(row)
            if found is True:
                return True
            unknown = unknown or found is None
        return None if unknown else False

    return evaluate


def negation(part: Predicate) -> Predicate:
    """Return NOT."""

    def evaluate(row: SourceRow) -> bool | None:
        found = part(row)
        return None if found is None else not found

    return evaluate


def is_null(operand: Bound) -> Predicate:
    """Return IS NULL."""
    inner = operand.evaluate
    return lambda row: inner(row) is None


def like(operand: Bound, pattern: Bound, escape: Bound | None) -> Predicate:
    """Return LIKE; case counts as the collation says."""
    left, right = as_text(operand), as_text(pattern)
    rules = t.nvarchar(collation=common_collation(left.type, right.type)).rules
    ignore_case = bool(rules.flags & IGNORE_CASE)
    mark = None if escape is None else escape.value
    subject, wanted = left.evaluate, right.evaluate
    if rules.flags & IGNORE_ACCENT:
        raise not_supported(f"LIKE under the collation {rules.name}")
    # the code page's LIKE leaves the subject's trailing spaces out of account, the Unicode one does not
    padded = not left.type.is_unicode and not right.type.is_unicode

    def evaluate(row: SourceRow) -> bool | None:
        text, form = subject(row), wanted(row)
        if text is None or form is None:
            return None
        compiled = like_pattern(form, mark, ignore_case)
        return bool(compiled.fullmatch(text)) or (padded and bool(compiled.fullmatch(text.rstrip(" "))))

    return evaluate


@lru_cache(maxsize=256)
def like_pattern(pattern: str, escape: str | None, ignore_case: bool) -> re.Pattern[str]:
    """Return the regular expression of a LIKE pattern."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == escape and position + 1 < len(pattern):
            position += 1
            parts.append(re.escape(pattern[position]))
        elif char == "[" and (closing := pattern.find("]", position + 2)) > 0:
            parts.append(_character_set(pattern[position + 1 : closing]))
            position = closing
        else:
            parts.append(".*" if char == "%" else "." if char == "_" else re.escape(char))
        position += 1
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _character_set(content: str) -> str:
    negated = content.startswith("^")
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", content[negated:])
    return f"[{'^' if negated else ''}{body}]"
