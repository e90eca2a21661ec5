"""Decides how the rows of each table come into its target in this run. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.apply import Apply
from etl_cli.runtime.sink.target import Target

How = Literal["shadow", "append", "insert", "merge", "changes"]


@dataclass(frozen=True)
class Loading:
    """The way of a table's rows; with `initial` mode changes reads everything once, and begins to follow changes."""

    how: How
    plan: TablePlan
    initial: bool = False
    problem: str = ""


def loading_of(plan: TablePlan, request: Request, *, streams: int, follows_changes: bool) -> Loading:
    """How this run loads the table. `follows_changes`: every shard has the version of an earlier read."""
    if request.where is not None:
        return _of_condition(plan, request.where)
    if plan.mode == "changes":
        if follows_changes and not request.full:
            return Loading("changes", plan)
        # by sync, so that what is deleted is seen, recorded or marked as the configuration says
        return _refused_part(Loading("shadow", replace(plan, mode="sync"), initial=True), request)
    if plan.mode in ("replace", "sync"):
        return _refused_part(Loading("shadow", plan), request)
    if plan.mode == "upsert":
        return Loading("merge", plan)
    if request.full and not plan.key:
        return Loading(
            "insert", plan, problem=f"{plan.source}: --full in mode append needs a key, or rows would come twice"
        )
    # with a key rows that are there already are passed over, whatever brought them: a part that was read by
    # --where or --full, a lookback, an attempt whose watermark was reset. Checksums are those of a staging table: in
    # the target a chunk's rows are not told from others
    return Loading("insert" if plan.key or plan.validate == "checksums" else "append", plan)


def exact(loading: Loading, target: Target | None, *, continues: bool = True) -> Loading:
    """The same where COPY into the target itself would be wrong: then the rows go through a staging table.

    It cannot write other types than the source's, nor pass over rows that are there already, as they may be
    where the run does not continue from a watermark of every shard.
    """
    if loading.how != "append" or target is None:
        return loading
    types = {column.name: column.type for column in target.columns}
    same = all(types.get(name, kind) == kind for name, kind in loading.plan.target_columns.items())
    only_new = continues or not loading.plan.key
    return loading if same and only_new else replace(loading, how="insert")


def applied(apply: Apply, loading: Loading, request: Request) -> Apply:
    """How the rows become visible in this run: a part of a table is never swapped in."""
    if loading.how != "shadow":
        return apply if apply.how in ("create", "merge") else replace(apply, how="merge", why="a part of the rows")
    if request.shards and apply.how == "swap":
        return replace(apply, how="difference", why="a part of the shards")
    return apply


def _of_condition(plan: TablePlan, where: str) -> Loading:
    combined = f"({plan.where}) AND ({where})" if plan.where else where
    # along the key alone: a cursor may be NULL, and no watermark moves
    key = tuple(column.source for column in plan.columns if column.target in plan.key)
    plan = replace(plan, order=key or plan.order)
    problem = "" if plan.key else f"{plan.source}: --where needs a key, to change only the rows that it reads"
    if plan.mode == "append":
        return Loading("insert", replace(plan, where=combined), problem=problem)
    return Loading("merge", replace(plan, where=combined, mode="upsert"), problem=problem)


def _refused_part(loading: Loading, request: Request) -> Loading:
    if request.shards and not loading.plan.shard_column:
        told = f"{loading.plan.source}: --shard in mode {loading.plan.mode} needs a shard_column"
        return replace(loading, problem=f"{told}, to leave the other shards' rows alone")
    return loading
