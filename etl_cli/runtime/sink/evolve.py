"""What becomes of a target whose columns are no longer those of the source: the schema contract (trap 23). Pure.

`evolve` adds columns and widens types, `freeze` refuses, `discard` leaves new columns out. No contract ever
drops a column or narrows one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan import DELETED_AT, TablePlan
from etl_cli.runtime.sink.target import Target

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_TIMESTAMP = re.compile(r"(timestamp|time)\((\d)\) (with|without) time zone")
_VARCHAR = re.compile(r"character varying\((\d+)\)")
_WHOLE = {"smallint": 5, "integer": 10, "bigint": 19}


@dataclass(frozen=True)
class Evolution:
    """What is done to the target before rows come: column definitions to add, (column, type) to widen."""

    added: tuple[tuple[str, str], ...] = ()
    widened: tuple[tuple[str, str], ...] = ()

    def statements(self, plan: TablePlan) -> Iterator[str]:
        """ALTER TABLE, one for each change."""
        table = quote_sink(plan.target_schema, plan.target_name)
        for name, kind in self.added:
            yield f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {quote_sink(name)} {kind}"
        for name, kind in self.widened:
            yield f"ALTER TABLE {table} ALTER COLUMN {quote_sink(name)} TYPE {kind}"


UNCHANGED = Evolution()


def evolution(plan: TablePlan, target: Target) -> Evolution:
    """What the target lacks for the plan's rows; types that cannot be widened are not in it."""
    present = {column.name: column.type for column in target.columns}
    wanted = plan.target_columns | ({DELETED_AT: "timestamp with time zone"} if plan.soft_delete else {})
    added = tuple((name, kind) for name, kind in wanted.items() if name not in present)
    widened = tuple(
        (name, kind)
        for name, kind in wanted.items()
        if name in present and kind != present[name] and is_wider(kind, than=present[name])
    )
    return Evolution(added, widened)


def is_wider(kind: str, than: str) -> bool:
    """Whether every value of type `than` is a value of type `kind`, both as `format_type` spells them."""
    if kind == than:
        return True
    if kind == "numeric":
        return than in _WHOLE or _NUMERIC.fullmatch(than) is not None
    if kind == "character varying":
        return than == "text" or _VARCHAR.fullmatch(than) is not None
    kind, than = _with_digits(kind), _with_digits(than)
    if kind in _WHOLE and than in _WHOLE:
        return _WHOLE[kind] >= _WHOLE[than]
    if kind == "text":
        return _VARCHAR.fullmatch(than) is not None
    if kind == "double precision":
        return than == "real"
    number, other = _NUMERIC.fullmatch(kind), _NUMERIC.fullmatch(than)
    if number:
        digits, scale = int(number[1]), int(number[2])
        if than in _WHOLE:
            return digits - scale >= _WHOLE[than]
        return other is not None and scale >= int(other[2]) and digits - scale >= int(other[1]) - int(other[2])
    time, before = _TIMESTAMP.fullmatch(kind), _TIMESTAMP.fullmatch(than)
    if time and before:
        return time[1] == before[1] and time[3] == before[3] and int(time[2]) >= int(before[2])
    longer, shorter = _VARCHAR.fullmatch(kind), _VARCHAR.fullmatch(than)
    return bool(longer and shorter and int(longer[1]) >= int(shorter[1]))


def _with_digits(kind: str) -> str:
    """A time type without a precision holds six digits."""
    return re.sub(r"^(timestamp|time) (with|without)", r"\1(6) \2", kind)


def against_contract(plan: TablePlan, target: Target) -> str:
    """What `freeze` finds changed, with the remedy; "" under another contract, or where nothing is."""
    if plan.contract != "freeze":
        return ""
    present = {column.name: column.type for column in target.columns}
    wanted = plan.target_columns
    new = [name for name in wanted if name not in present]
    gone = [name for name in present if name not in wanted and name != DELETED_AT]
    changed = [f"{n} ({present[n]} -> {kind})" for n, kind in wanted.items() if n in present and present[n] != kind]
    told = [f"{what} {', '.join(n)}" for what, n in (("new", new), ("gone", gone), ("changed", changed)) if n]
    if not told:
        return ""
    return (
        f"{plan.source}: its columns are not those of {plan.target} ({'; '.join(told)}), and schema: freeze forbids "
        "any change: alter the target, or use schema: evolve or discard"
    )


def discarded(plan: TablePlan, target: Target) -> TablePlan:
    """The plan without the columns that the target has not, where the contract is `discard`."""
    if plan.contract != "discard":
        return plan
    present = {column.name for column in target.columns}
    kept = tuple(c for c in plan.columns if c.target in present or c.target in plan.key or c.source in plan.order)
    return replace(plan, columns=kept)
