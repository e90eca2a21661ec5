"""The statements that read a table's rows. Pure."""

from __future__ import annotations

from etl_cli.runtime.names import quote_source
from etl_cli.runtime.plan import ColumnPlan, TablePlan

ROWS_SENT = "SELECT ROWCOUNT_BIG()"
"""How many rows the session's last statement gave."""


def select_rows(plan: TablePlan) -> str:
    """One ordered scan over the planned columns; unordered where the table has no key."""
    order = ", ".join(quote_source(name) for name in plan.order)
    return f"SELECT {_listed(plan)} FROM {_from(plan)}" + (f" ORDER BY {order}" if order else "")


def select_nothing(plan: TablePlan) -> str:
    """The scan's columns and condition without its rows: whether the server accepts it, and lets it be read."""
    return f"SELECT TOP (0) {_listed(plan)} FROM {_from(plan)}"


def _listed(plan: TablePlan) -> str:
    selected = [
        c.expression if c.expression == quote_source(c.source) else f"{c.expression} AS {quote_source(c.source)}"
        for c in plan.columns
    ]
    selected += [f"{quote_source(c.source)}.STSrid AS {quote_source(srid_of(c))}" for c in plan.columns if c.spatial]
    return ", ".join(selected)


def srid_of(column: ColumnPlan) -> str:
    """The name under which a spatial column's SRID is read beside it."""
    return f"{column.source} SRID"


def count_rows(plan: TablePlan) -> str:
    """How many rows the scan must give."""
    return f"SELECT COUNT_BIG(*) FROM {_from(plan)}"


def _from(plan: TablePlan) -> str:
    table = quote_source(plan.source_schema, plan.source_name)
    return f"{table} WHERE ({plan.where})" if plan.where else table
