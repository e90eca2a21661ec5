"""Fixes what each stream of a task reads, before it is read: asks the shards for bounds and places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.ledger.watermarks import Watermark
from etl_cli.runtime.loading import Loading
from etl_cli.runtime.lookback import less
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.request import Request
from etl_cli.runtime.source.bounds import Bounds
from etl_cli.runtime.source.position import columns_of
from etl_cli.runtime.window import ALL_ROWS, Window


@dataclass(frozen=True)
class Fixed:
    """The windows of one task, one for each stream; none where there is nothing to read."""

    windows: tuple[Window, ...]
    version: int | None = None
    """The version of change tracking as of which the rows are read."""
    notes: tuple[str, ...] = ()
    before: tuple[str, ...] | None = None
    """Where the watermark stood when this was fixed; a resumption finds it there, or where the run has moved it."""

    @staticmethod
    def everything() -> Fixed:
        """All rows, by one stream."""
        return Fixed((ALL_ROWS,))


def fix_windows(bounds: Bounds, loading: Loading, mark: Watermark | None, request: Request, *, streams: int) -> Fixed:
    """The windows of one task. Raises SourceError, and PlanError for a watermark that does not fit."""
    plan = loading.plan
    if loading.how == "changes":
        assert mark is not None
        since, version = int(mark.value), bounds.change_version(plan)
        bounds.refuse_expired_changes(plan, since, version)
        whole = Window(since=since, version=version)
        return Fixed(_divided(bounds, plan, whole, streams), version)
    if loading.initial:
        version = bounds.change_version(plan)
        bounds.refuse_expired_changes(plan, version, version)
        return Fixed(_divided(bounds, plan, ALL_ROWS, streams), version)
    if plan.cursor is None or request.where is not None:
        return Fixed(_divided(bounds, plan, ALL_ROWS, streams))
    return _incremental(bounds, plan, None if request.full else mark, streams)


def _incremental(bounds: Bounds, plan: TablePlan, mark: Watermark | None, streams: int) -> Fixed:
    if mark is not None and mark.cursor != plan.cursor:
        raise PlanError(
            f"{plan.source} of {mark.id.shard}: its watermark is one of {mark.cursor}, the cursor is {plan.cursor}",
            "`etl-cli state` can reset it; then everything is read once",
        )
    bound = bounds.highest_cursor(plan)
    cursor = columns_of(plan)[0]
    without = bounds.without_cursor(plan) if cursor.nullable else 0
    notes = (f"{without} rows have no {cursor.source}: they are never read",) if without else ()
    if bound is None:
        return Fixed((), notes=notes)
    window = Window(bound=bound)
    if mark is not None and plan.lookback:
        window = Window(bound=bound, floor=less(cursor, mark.value, plan.lookback))
    elif mark is not None:
        window = Window(bound=bound, after=mark.position[: len(plan.order)])
    return Fixed(_divided(bounds, plan, window, streams), notes=notes)


def _divided(bounds: Bounds, plan: TablePlan, window: Window, streams: int) -> tuple[Window, ...]:
    if streams == 1 or not plan.key:
        return (window,)
    return tuple(bounds.divided(plan, window, streams))


def from_ledger(windows: Mapping[str, object] | None) -> Fixed:
    """What `as_json` kept."""
    assert windows is not None
    listed = windows["windows"]
    assert isinstance(listed, list)
    version = windows.get("version")
    before = windows.get("before")
    return Fixed(
        tuple(map(Window.of_json, listed)),
        version if isinstance(version, int) else None,
        before=tuple(before) if isinstance(before, list) else None,
    )


def as_json(fixed: Fixed) -> dict[str, object]:
    """For the ledger."""
    windows = [window.as_json() for window in fixed.windows]
    return {"windows": windows, "version": fixed.version, "before": fixed.before}
