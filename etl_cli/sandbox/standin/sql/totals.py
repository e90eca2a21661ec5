"""Rows and totals of one stored table without a row-by-row walk over its body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.aggregates import Aggregate, State
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.columnwise import ColumnReader
from etl_cli.sandbox.standin.sql.scope import SourceScope
from etl_cli.sandbox.standin.sql.vector import ColumnFilter
from etl_cli.sandbox.standin.store.column_store import ColumnStore
from etl_cli.sandbox.standin.store.columns import Mask, NumberColumn
from etl_cli.sandbox.standin.store.definitions import Row
from etl_cli.sandbox.standin.store.version import TableVersion

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.sql.select import Query

LOW_BITS = 0xFFFFFFFF
BATCH = 16384


def matching_rows(
    version: TableVersion, where: ast.Expression | None, binder: Binder, scope: SourceScope
) -> Iterator[tuple[int, Row]]:
    """Yield (row number, whole row) where the condition is true."""
    store, _, outside = version.content
    if store.count:
        mask = _matching(version, where, binder, scope)
        positions = np.flatnonzero(mask)
        rows = store.rows(range(len(store.columns)), positions)
        yield from zip((store.row_id(place) for place in positions.tolist()), rows, strict=True)
    predicate = None if where is None else binder.predicate(where)
    for row_id, row in outside.items():
        if predicate is None or predicate((row,)):
            yield row_id, row


def _matching(version: TableVersion, where: ast.Expression | None, binder: Binder, scope: SourceScope) -> Mask:
    store, hidden, _ = version.content
    mask = ColumnFilter(store, binder, scope).matching(where)
    mask = np.ones(store.count, np.bool_) if mask is None else mask.copy()
    if hidden:
        mask[version.hidden_positions()] = False
    return mask


def totals_of(query: Query) -> tuple[Any, ...] | None:
    """Return the aggregates of a query over one whole table, None when it takes the general way."""
    leaf = query.source.single
    if leaf is None or leaf.version is None or query.select.group or not query.aggregates:
        return None
    if query.select.where is None and all(plan.star for plan in query.aggregates):
        return tuple(plan.result(_counted(plan, leaf.version.count)) for plan in query.aggregates)
    store, _, outside = leaf.version.content
    if store.count == 0 or not all(_is_columnar(plan, store) for plan in query.aggregates):
        return None
    mask = _matching(leaf.version, query.select.where, query.plain, leaf.scope)
    reader = ColumnReader(store, query.plain, leaf.scope)
    states = [_state(plan, store, mask, reader) for plan in query.aggregates]
    for stored in outside.values():
        row = (tuple([stored[place] for place in leaf.scope.used]),)
        if query.where is None or query.where(row):
            for state in states:
                state.add(state.plan.argument.evaluate(row))
    return tuple(state.result() for state in states)


def _counted(plan: Aggregate, count: int) -> State:
    state = State(plan)
    state.count = count
    return state


def _is_columnar(plan: Aggregate, store: ColumnStore) -> bool:
    if plan.distinct:
        return False
    if plan.star or plan.argument.constant:
        return plan.star
    if plan.argument.column is None:
        return True
    column = store.columns[plan.argument.column[1]]
    return plan.name in ("COUNT", "COUNT_BIG", "MIN", "MAX") or (
        isinstance(column, NumberColumn) and column.array.dtype.kind in "iu"
    )


def _state(plan: Aggregate, store: ColumnStore, mask: Mask, reader: ColumnReader) -> State:
    """Return what an aggregate has seen of the body's matching rows."""
    if plan.star:
        return _counted(plan, int(mask.sum()))
    if plan.argument.column is None:
        return _computed_state(plan, mask, reader)
    ordinal = plan.argument.column[1]
    column = store.columns[ordinal]
    present = mask & ~column.nulls()
    count = int(present.sum())
    state = State(plan)
    if count and plan.name in ("MIN", "MAX"):
        state.add(_extreme(plan, store, ordinal, present))
    elif count and plan.sums:
        assert isinstance(column, NumberColumn)
        state.total = _exact_sum(column.array[present].astype(np.int64))
    state.count = count
    return state


def _computed_state(plan: Aggregate, mask: Mask, reader: ColumnReader) -> State:
    """Read an expression's values a batch at a time."""
    state = State(plan)
    assert plan.node is not None
    read = reader.reader(plan.node)
    positions = np.flatnonzero(mask)
    for start in range(0, len(positions), BATCH):
        present = [value for value in read(0, 0, positions[start : start + BATCH]) if value is not None]
        if plan.type.is_exact and plan.sums:
            state.count += len(present)
            state.total += sum(present)
        else:
            for value in present:
                state.add(value)
    return state


def _exact_sum(array: Any) -> int:
    """Add 64-bit numbers without overflow: high and low halves apart."""
    return (int((array >> 32).sum()) << 32) + int((array & LOW_BITS).sum())


def _extreme(plan: Aggregate, store: ColumnStore, ordinal: int, present: Mask) -> Any:
    column = store.columns[ordinal]
    if isinstance(column, NumberColumn):
        values = column.array[present]
        return (values.min() if plan.name == "MIN" else values.max()).item()
    keys = store.keys(ordinal, column.type)
    choose = min if plan.name == "MIN" else max
    place = choose(np.flatnonzero(present).tolist(), key=keys.__getitem__)
    return column.pick((place,))[0]
