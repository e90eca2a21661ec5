"""Functions of Change Tracking that need no session."""

from __future__ import annotations

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.sql.bound import Bound, SourceRow, converted, derived
from etl_cli.sandbox.standin.sql.functions.registry import register
from etl_cli.sandbox.standin.store.journal import COLUMN_NUMBER_BYTES, MASK_HEAD, in_mask

SHORTEST_MASK = len(MASK_HEAD) + COLUMN_NUMBER_BYTES


@register("CHANGE_TRACKING_IS_COLUMN_IN_MASK", 2)
def _is_column_in_mask(arguments: list[Bound]) -> Bound:
    """A mask that is NULL holds every column; 22101 for bytes that are no mask."""
    number, mask = converted(arguments[0], t.INT).evaluate, converted(arguments[1], t.varbinary(4100)).evaluate

    def evaluate(row: SourceRow) -> int | None:
        wanted, data = number(row), mask(row)
        if wanted is None or data is None:
            return None if wanted is None else 1
        if len(data) < SHORTEST_MASK:
            raise SqlError(
                22101,
                "The value supplied for the change_columns argument of CHANGE_TRACKING_IS_COLUMN_IN_MASK function is "
                "not valid. The value must be a bitmask returned by the CHANGETABLE(CHANGES ...) function.",
            )
        return int(in_mask(wanted, data))

    return derived(t.BIT, evaluate, *arguments)
