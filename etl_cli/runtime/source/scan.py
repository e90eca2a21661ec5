"""The statements that read a table's rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from etl_cli.runtime.names import quote_source
from etl_cli.runtime.plan import ColumnPlan, TablePlan
from etl_cli.runtime.source.position import after, at_least, columns_of, needs_text, text_of, up_to, value_of
from etl_cli.runtime.window import ALL_ROWS, Window

ROWS_SENT = "SELECT ROWCOUNT_BIG()"
"""How many rows the session's last statement gave."""

OPERATION = "__etl_operation"
"""The column that tells in mode changes what became of a row: U is there, D is gone."""

_PRESENT = "__etl_present"


def select_rows(plan: TablePlan, window: Window = ALL_ROWS) -> str:
    """One ordered scan over the window's rows; unordered where the table has no key."""
    order = ", ".join(quote_source(name) for name in plan.order)
    return f"SELECT {_listed(plan)} FROM {rows_of(plan, window)}" + (f" ORDER BY {order}" if order else "")


def select_nothing(plan: TablePlan) -> str:
    """The scan's columns and condition without its rows: whether the server accepts it, and lets it be read."""
    window = Window(since=0, version=0) if plan.mode == "changes" else ALL_ROWS
    return f"SELECT TOP (0) {_listed(plan)} FROM {rows_of(plan, window)}"


def count_rows(plan: TablePlan, window: Window = ALL_ROWS) -> str:
    """How many rows the scan must give."""
    return f"SELECT COUNT_BIG(*) FROM {rows_of(plan, window)}"


def select_position(plan: TablePlan, window: Window, offset: int) -> str:
    """The position of the window's row number `offset`, counted from 0."""
    texts = ", ".join(text_of(column) for column in columns_of(plan))
    order = ", ".join(quote_source(name) for name in plan.order)
    rows = f"OFFSET {offset} ROWS FETCH NEXT 1 ROWS ONLY"
    return f"SELECT {texts} FROM {rows_of(plan, window)} ORDER BY {order} {rows}"


def select_oldest_version(plan: TablePlan) -> str:
    """The oldest version since which the server still knows every change of the table; NULL where it is not tracked."""
    name = quote_source(plan.source_schema, plan.source_name).replace("'", "''")
    return f"SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'{name}'))"


def srid_of(column: ColumnPlan) -> str:
    """The name under which a spatial column's SRID is read beside it."""
    return f"{column.source} SRID"


def position_column(number: int) -> str:
    """The name under which the text of the order's column `number` is read beside it."""
    return f"__etl_position_{number}"


def texts_beside(plan: TablePlan) -> list[str]:
    """The names of the text columns that are read beside the planned ones."""
    names = [position_column(n) for n, column in enumerate(columns_of(plan)) if needs_text(column)]
    return [*names, OPERATION] if plan.mode == "changes" else names


def rows_of(plan: TablePlan, window: Window, condition: str = "") -> str:
    """What stands after FROM: the table, and the conditions of configuration, window and caller."""
    conditions = [*_conditions(plan, window), *([condition] if condition else [])]
    source = quote_source(plan.source_schema, plan.source_name)
    if window.since is not None:
        source = _changed(plan, window)
    return source + (" WHERE " + " AND ".join(f"({c})" for c in conditions) if conditions else "")


def _conditions(plan: TablePlan, window: Window) -> Iterator[str]:
    if plan.where and window.since is None:
        yield plan.where
    columns = columns_of(plan)
    if window.floor is not None and not window.after:
        yield at_least(columns[0], window.floor)
    if window.after:
        yield after(columns, window.after)
    if window.up_to:
        yield up_to(columns, window.up_to)
    if window.bound is not None:
        yield f"{quote_source(columns[0].source)} <= {value_of(columns[0], window.bound)}"


def _changed(plan: TablePlan, window: Window) -> str:
    """Every changed row with its key, and with its present values where it is still there.

    Wrapped, so that configured conditions and expressions name columns as they do everywhere else.
    """
    table = quote_source(plan.source_schema, plan.source_name)
    key = [quote_source(name) for name in plan.order]
    others = [quote_source(c.source) for c in plan.columns if c.source not in plan.order and not c.derived]
    listed = [f"ct.{name} AS {name}" for name in key] + [f"t.{name} AS {name}" for name in others]
    joined = " AND ".join(f"t.{name} = ct.{name}" for name in key)
    return (
        f"(SELECT {', '.join(listed)}, CASE WHEN t.{key[0]} IS NULL THEN 0 ELSE 1 END AS {quote_source(_PRESENT)}"
        f" FROM CHANGETABLE(CHANGES {table}, {window.since}) AS ct LEFT JOIN {table} AS t ON {joined}"
        f" WHERE ct.SYS_CHANGE_VERSION <= {window.version}) AS q"
    )


def _listed(plan: TablePlan) -> str:
    selected = [
        c.expression if c.expression == quote_source(c.source) else f"{c.expression} AS {quote_source(c.source)}"
        for c in plan.columns
    ]
    selected += [f"{quote_source(c.source)}.STSrid AS {quote_source(srid_of(c))}" for c in plan.columns if c.spatial]
    for number, column in enumerate(columns_of(plan)):
        if needs_text(column):
            selected.append(f"{text_of(column)} AS {quote_source(position_column(number))}")
    if plan.mode == "changes":
        kept = f"{quote_source(_PRESENT)} = 1" + (f" AND ({plan.where})" if plan.where else "")
        selected.append(f"CASE WHEN {kept} THEN N'U' ELSE N'D' END AS {quote_source(OPERATION)}")
    return ", ".join(selected)
