"""WKB does not say in which reference system its numbers are: the column's comment does. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.plan import ColumnPlan, TablePlan


def with_srids(plan: TablePlan, srids: Mapping[str, Collection[int]]) -> TablePlan:
    """The plan with each spatial column's SRID in its comment. Raises DataError where a column has several."""
    if not srids:
        return plan
    return replace(plan, columns=tuple(_commented(plan, column, srids) for column in plan.columns))


def _commented(plan: TablePlan, column: ColumnPlan, srids: Mapping[str, Collection[int]]) -> ColumnPlan:
    found = sorted(srids.get(column.target, ()))
    if not found:
        return column
    if len(found) > 1:
        raise DataError(
            f"{plan.source}: column {column.source} mixes the reference systems {', '.join(map(str, found))}, "
            "which WKB cannot tell apart",
            "copy one at a time with `where`, or leave the column out with `columns`",
        )
    text = f"WKB, SRID {found[0]}"
    return replace(column, comment=f"{column.comment} ({text})" if column.comment else text)
