"""Decides how a replaced table becomes visible. Pure.

A swap puts a freshly built table in the old one's place: fast, but everything that hangs on the old
table must be re-made. The keyed difference changes the old table's rows in one transaction and
leaves everything that hangs on it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.evolve import UNCHANGED, Evolution, against_contract, evolution, is_wider
from etl_cli.runtime.sink.target import Target

How = Literal["create", "swap", "difference", "merge"]


@dataclass(frozen=True)
class Apply:
    """How rows become visible, why, and what forbids it (empty = nothing)."""

    how: How
    why: str
    problem: str = ""
    evolution: Evolution = UNCHANGED
    """What is done to the target before its rows are changed."""


def decide(plan: TablePlan, target: Target | None) -> Apply:
    """The way for this table: `apply` of the configuration where it names one, else what the target allows."""
    if target is None:
        return Apply("create", "the target does not exist yet")
    if target.kind not in ("r", "p"):
        return Apply("difference", "", f"{plan.target} is not a table: give the table another `target`")
    frozen = against_contract(plan, target)
    if frozen:
        return Apply("difference", "", frozen)
    if plan.incremental or plan.mode == "sync":
        how: How = "merge" if plan.incremental else "difference"
        problem = against_difference(plan, target) or _against_merge(plan, target)
        return Apply(how, f"mode {plan.mode}", problem, evolution(plan, target))
    reasons = list(_against_swap(plan, target))
    problem = against_difference(plan, target)
    if plan.apply == "swap":
        forbidden = (
            f"{plan.target} cannot be swapped: it {reasons[0]}" if reasons else _changed_under_a_view(plan, target)
        )
        return Apply("swap", "apply: swap", forbidden)
    if plan.apply == "difference":
        return Apply("difference", "apply: difference", problem, evolution(plan, target))
    if reasons:
        return Apply("difference", f"the target {reasons[0]}", problem, evolution(plan, target))
    why = "nothing but what can be re-made hangs on the target"
    return Apply("swap", why, _changed_under_a_view(plan, target))


def _against_swap(plan: TablePlan, target: Target) -> Iterator[str]:
    """Each reason why the target must stay the table that it is, as the end of a sentence."""
    if not target.is_owner:
        yield "belongs to another user"
    if target.kind == "p" or target.is_inherited:
        yield "is partitioned or part of an inheritance"
    if target.is_published:
        yield "is in a publication"
    if target.has_row_security:
        yield "has row security"
    if target.persistence != "p" or target.has_settings or target.has_security_label:
        yield "has settings of its own"
    yield from _own_parts(plan, target)
    for dependent in target.dependents:
        if dependent.view_kind != "v":
            yield f"is needed by {dependent.description}"
        elif not dependent.is_ours:
            yield f"is needed by {dependent.description}, which belongs to another user"


def _against_merge(plan: TablePlan, target: Target) -> str:
    """A merge finds each row by its key: without an index it would read the target once for every chunk."""
    if not plan.key:
        return ""
    fitting = [c for c in target.constraints if c.own and c.kind in ("p", "u") and set(c.columns) == set(plan.key)]
    if any(not constraint.deferrable for constraint in fitting):
        return ""
    columns = ", ".join(plan.key)
    if fitting:
        return (
            f"{plan.target}: {fitting[0].name} is deferrable, so rows cannot be matched by it: make it anew without "
            "DEFERRABLE, or add another unique constraint"
        )
    return (
        f"{plan.target} has no primary key or unique constraint on ({columns}): "
        f"ALTER TABLE {plan.target} ADD PRIMARY KEY ({columns})"
    )


def _own_parts(plan: TablePlan, target: Target) -> Iterator[str]:
    planned = plan.target_columns
    for column in target.columns:
        if column.name not in planned:
            yield f"has a column {column.name} that the source has not"
        elif column.has_default or column.has_settings:
            yield f"has a default, identity or settings on column {column.name}"
    for constraint in target.constraints:
        if not constraint.own:
            yield f"is referred to by the foreign key {constraint.name}"
        elif constraint.kind != "p" or constraint.has_settings:
            yield f"has the constraint {constraint.name}"
    for index in target.indexes:
        if index.has_settings:
            yield f"has settings on the index {index.name}"


def _changed_under_a_view(plan: TablePlan, target: Target) -> str:
    """A view keeps the types of its columns: it cannot be re-made over a column of another type."""
    types = plan.target_columns
    for column in target.columns:
        wanted = types.get(column.name)
        if wanted is None or wanted == column.type:
            continue
        for view in target.dependents:
            if view.columns is None or column.name in view.columns:
                told = f"{plan.target}.{column.name} is {column.type}, the source wants {wanted}"
                return f"{told}: drop {view.description}, then run"
    return ""


def against_difference(plan: TablePlan, target: Target) -> str:
    """What forbids changing the target's rows, with its remedy; "" = nothing."""
    if target.lacks_identity:
        return (
            f"the changes of {plan.target} are published, but it has no key to tell its rows apart: "
            f"give it a primary key, or ALTER TABLE {plan.target} REPLICA IDENTITY FULL"
        )
    names = {column.name for column in target.columns}
    missing = [name for name in plan.key if name not in names]
    if missing:
        return f"{plan.target} lacks the key column {', '.join(missing)}: ALTER TABLE {plan.target} ADD COLUMN ..."
    types = plan.target_columns
    for column in target.columns:
        wanted = types.get(column.name)
        if wanted is not None and wanted != column.type:
            told = f"{plan.target}.{column.name} is {column.type}, the source wants {wanted}"
            if is_wider(wanted, column.type):
                for view in target.dependents:
                    if view.view_kind != "-" and (view.columns is None or column.name in view.columns):
                        return f"{told}: drop {view.description}, then run"
            elif not is_wider(column.type, wanted):
                return f"{told}: alter the column"
        if column.identity == "a" and wanted is not None and column.name not in plan.key:
            return (
                f"{plan.target}.{column.name} is GENERATED ALWAYS AS IDENTITY and cannot be updated: "
                "ALTER COLUMN ... SET GENERATED BY DEFAULT"
            )
        if column.generated and wanted is not None:
            return f"{plan.target}.{column.name} is generated and cannot be written: leave it out with `columns`"
        if wanted is None and column.not_null and not column.has_default:
            return f"{plan.target}.{column.name} is NOT NULL, has no default and is not in the source: drop NOT NULL"
    return ""
