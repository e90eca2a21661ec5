"""Makes a loaded shadow visible: created, swapped in, or applied as a difference, in one transaction.

Readers see the old rows or the new ones, whatever their isolation level. See docs/becoming-visible.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from etl_cli.runtime.errors import DataError, EtlError, SinkError
from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink import ddl
from etl_cli.runtime.sink.apply import Apply, against_difference
from etl_cli.runtime.sink.connect import SinkConnection, translate
from etl_cli.runtime.sink.difference import apply_difference, insert_all
from etl_cli.runtime.sink.evolve import evolution
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow, build_key, drop_shadow, free_name
from etl_cli.runtime.sink.swap import (
    NotNowError,
    NotSwappableError,
    Record,
    build_indexes,
    index_name,
    put_in_place,
    set_comments,
    swap,
)
from etl_cli.runtime.sink.target import Target, read_target

SWAP_PATIENCE_S = 30
"""How long a swap waits for readers, in all, before the difference is applied instead."""

_PASSING = (
    NotNowError,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.InternalError_,  # "could not open relation", "tuple concurrently updated": another's DDL came first
)


@dataclass(frozen=True)
class Part:
    """Whose rows a shadow holds: those of `shards` (None = of all); `empty` are the ones that gave no row."""

    run_id: int = 0
    shards: Sequence[str] | None = None
    empty: Sequence[str] = ()


ALL_SHARDS = Part()


@dataclass(frozen=True)
class Published:
    """What became visible, and how; counts are those of a difference."""

    how: str
    why: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def publish(
    connection: SinkConnection,
    plan: TablePlan,
    shadow: Shadow,
    planned: Apply,
    record: Record,
    part: Part = ALL_SHARDS,
) -> Published:
    """Make the shadow's rows the target's; the shadow is gone afterwards.

    `record` writes the ledger in the same transaction. Raises DataError where an empty source would
    empty a full target or the key is not unique, SinkError for what Postgres refuses. The target is
    as it was after every error.
    """
    try:
        _refuse_empty(connection, plan, shadow, part)
        build_key(connection, plan, shadow)
        if planned.how == "create":
            return _create(connection, plan, shadow, planned, record)
        if planned.how == "swap":
            return _swap(connection, plan, shadow, planned, record)
        return _difference(connection, plan, shadow, planned.why, record, part)
    except psycopg.errors.UniqueViolation as error:
        raise _not_unique(connection, plan, shadow, error) from error
    except psycopg.Error as error:
        raise translate(error, f"making {plan.target} visible") from error


def _create(connection: SinkConnection, plan: TablePlan, shadow: Shadow, planned: Apply, record: Record) -> Published:
    """Rename the shadow; where an old snapshot would see a part of its rows, insert them into a new table."""
    xid = _xid(connection)
    try:
        _patiently(lambda: put_in_place(connection, plan, shadow, xid, record))
    except NotSwappableError as error:
        raise SinkError(str(error), "run again") from error
    except NotNowError:
        with connection.transaction():
            execute(connection, ddl.create_table(plan, plan.target_schema, plan.target_name))
            insert_all(connection, plan, shadow)
            name = free_name(connection, plan.target_schema, ddl.key_name(plan))
            key = ddl.add_key(plan, plan.target_schema, plan.target_name, name)
            if key:
                execute(connection, key)
            set_comments(connection, plan)
            record(connection)
        _tidy(connection, shadow)
    return Published("create", planned.why)


def _swap(connection: SinkConnection, plan: TablePlan, shadow: Shadow, planned: Apply, record: Record) -> Published:
    """Swap; whatever forbids it, the difference is right as well."""
    try:
        indexes = build_indexes(connection, plan, shadow)
        xid = _xid(connection)
        _patiently(lambda: swap(connection, plan, shadow, indexes, xid, record))
        return Published("swap", planned.why)
    except (psycopg.errors.UniqueViolation, psycopg.OperationalError) as error:
        if not isinstance(error, _PASSING):
            raise
        why = "readers held the table"
    except (NotSwappableError, NotNowError) as error:
        why = str(error)
    except psycopg.Error as error:
        why = f"Postgres refused the swap: {error.diag.message_primary or error}"
    if plan.apply == "swap":
        raise SinkError(f"{plan.target} could not be swapped: {why}", "run again, or use apply: auto")
    return _difference(connection, plan, shadow, why, record, ALL_SHARDS)


def _patiently(attempt: Callable[[], None]) -> None:
    tries = Retrying(
        stop=stop_after_delay(SWAP_PATIENCE_S),
        wait=wait_exponential_jitter(multiplier=0.2, max=3, jitter=0.2),
        retry=retry_if_exception_type(_PASSING),
        reraise=True,
    )
    tries(attempt)


def _xid(connection: SinkConnection) -> str:
    """A transaction id that is younger than every row of the load."""
    row = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    assert row is not None
    return str(row[0])


def _difference(
    connection: SinkConnection, plan: TablePlan, shadow: Shadow, why: str, record: Record, part: Part
) -> Published:
    target = read_target(connection, plan.target_schema, plan.target_name)
    forbidden = against_difference(plan, target) if target else f"{plan.target} is gone: run again"
    if forbidden or target is None:
        raise SinkError(f"{forbidden} (a swap was not possible: {why})" if why else forbidden)
    execute(connection, f"ANALYZE {shadow.quoted}")
    with connection.transaction():
        execute(connection, _SEE_ALL_ROWS)
        target = evolve(connection, plan, target)
        counts = apply_difference(connection, plan, shadow, target, run_id=part.run_id, shards=part.shards)
        record(connection)
    _tidy(connection, shadow)
    return Published("difference", why, counts.inserted, counts.updated, counts.deleted)


def evolve(connection: SinkConnection, plan: TablePlan, target: Target) -> Target:
    """Add the columns and widen the types that the plan needs; the target as it is then."""
    statements = list(evolution(plan, target).statements(plan))
    for statement in statements:
        execute(connection, statement)
    changed = read_target(connection, plan.target_schema, plan.target_name) if statements else target
    return changed or target


def _tidy(connection: SinkConnection, shadow: Shadow) -> None:
    """The rows are visible: a shadow that somebody reads just now is no reason to call that a failure."""
    with contextlib.suppress(psycopg.Error):
        drop_shadow(connection, shadow)


_SEE_ALL_ROWS = "SET LOCAL row_security = off"
"""Rows that a policy hides from this user would stay for ever: then Postgres refuses the statement instead."""


def _refuse_empty(connection: SinkConnection, plan: TablePlan, shadow: Shadow, part: Part) -> None:
    """Trap 16: an empty source must not empty the target, nor one empty shard its part of it."""
    if plan.allow_empty:
        return
    target = read_target(connection, plan.target_schema, plan.target_name)
    if target is None:
        return
    quoted = Shadow(plan.target_schema, plan.target_name).quoted
    if not _has_rows(connection, shadow.quoted) and _has_rows(connection, quoted):
        raise DataError(
            f"{plan.source} is empty{' on every shard' if plan.source_schema else ''}, {plan.target} is not: "
            "nothing was changed",
            "if it is meant to be empty, set allow_empty: true",
        )
    if plan.shard_column in {column.name for column in target.columns}:
        for shard in part.empty:
            if _has_rows(connection, quoted, f"WHERE {quote_sink(plan.shard_column or '')} = {quote_text(shard)}"):
                raise DataError(
                    f"{plan.source} is empty on {shard}, {plan.target} holds rows of it: nothing was changed",
                    "if it is meant to be empty, set allow_empty: true",
                )


def _has_rows(connection: SinkConnection, quoted: str, condition: str = "") -> bool:
    with connection.transaction():
        execute(connection, _SEE_ALL_ROWS)
        return bool(execute(connection, f"SELECT FROM {quoted} {condition} LIMIT 1"))


def _not_unique(
    connection: SinkConnection, plan: TablePlan, shadow: Shadow, error: psycopg.errors.UniqueViolation
) -> EtlError:
    """Which key or index the new rows break: the shadow's names mean nothing to a reader."""
    target = read_target(connection, plan.target_schema, plan.target_name)
    named = {index_name(shadow, n): index.name for n, index in enumerate(target.indexes if target else ())}
    name = error.diag.constraint_name or ""
    detail = error.diag.message_detail or ""
    keys = {shadow.key_name, target.key.name if target and target.key else ddl.key_name(plan)}
    if name not in keys:
        return DataError(
            f"{plan.target}: the new rows break its unique index {named.get(name, name)}: {detail}",
            "correct the rows, or drop the index",
        )
    listed = ", ".join(name for name in plan.key if name in plan.target_columns)
    return DataError(
        f"{plan.source}: the key ({listed}) is not unique: {detail}",
        "correct `key`, or keep `shard_column` where shards share keys",
    )
