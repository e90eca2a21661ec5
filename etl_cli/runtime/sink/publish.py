"""Makes a loaded shadow visible: created, swapped in, or applied as a difference, in one transaction.

Readers see the old rows or the new ones, whatever their isolation level. See docs/becoming-visible.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from etl_cli.runtime.errors import DataError, SinkError
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink.apply import Apply, decide
from etl_cli.runtime.sink.connect import SinkConnection, translate
from etl_cli.runtime.sink.difference import apply_difference
from etl_cli.runtime.sink.shadow import Shadow, build_key, run
from etl_cli.runtime.sink.swap import NotSwappableError, build_indexes, put_in_place, swap
from etl_cli.runtime.sink.target import read_target

SWAP_PATIENCE_S = 30
"""How long a swap waits for readers, in all, before the difference is applied instead."""

Record = Callable[[SinkConnection], None]


@dataclass(frozen=True)
class Published:
    """What became visible, and how."""

    how: str
    why: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def publish(connection: SinkConnection, plan: TablePlan, shadow: Shadow, planned: Apply, record: Record) -> Published:
    """Make the shadow's rows the target's.

    `record` writes the ledger in the same transaction. Raises DataError where an empty source would
    empty a full target or the key is not unique, SinkError for what Postgres refuses. The target is
    as it was after every error.
    """
    try:
        _refuse_empty(connection, plan, shadow)
        build_key(connection, plan, shadow)
        return _publish(connection, plan, shadow, planned, record)
    except psycopg.errors.UniqueViolation as error:
        raise DataError(
            f"{plan.source}: the key ({', '.join(plan.key)}) is not unique: {error.diag.message_detail}",
            "correct `key`, or keep `shard_column` where shards share keys",
        ) from error
    except psycopg.Error as error:
        raise translate(error, f"making {plan.target} visible") from error


def _publish(connection: SinkConnection, plan: TablePlan, shadow: Shadow, planned: Apply, record: Record) -> Published:
    if planned.how == "create":
        with connection.transaction():
            if read_target(connection, plan.target_schema, plan.target_name) is not None:
                raise SinkError(f"{plan.target} came into being while it was being loaded", "run again")
            put_in_place(connection, plan, shadow)
            record(connection)
        return Published("create", planned.why)
    if planned.how == "swap":
        try:
            _swap_patiently(connection, plan, shadow, record)
            return Published("swap", planned.why)
        except (NotSwappableError, psycopg.errors.LockNotAvailable) as error:
            why = str(error) if isinstance(error, NotSwappableError) else "readers held the table"
            if plan.apply == "swap":
                raise SinkError(
                    f"{plan.target} could not be swapped: {why}", "run again, or use apply: auto"
                ) from error
            return _difference(connection, plan, shadow, why, record)
    return _difference(connection, plan, shadow, planned.why, record)


def _swap_patiently(connection: SinkConnection, plan: TablePlan, shadow: Shadow, record: Record) -> None:
    tries = Retrying(
        stop=stop_after_delay(SWAP_PATIENCE_S),
        wait=wait_exponential_jitter(multiplier=0.2, max=3, jitter=0.2),
        retry=retry_if_exception_type((NotSwappableError, psycopg.errors.LockNotAvailable)),
        reraise=True,
    )
    indexes = build_indexes(connection, plan, shadow)
    loaded = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    assert loaded is not None
    tries(swap, connection, plan, shadow, indexes, loaded[0], record)


def _difference(connection: SinkConnection, plan: TablePlan, shadow: Shadow, why: str, record: Record) -> Published:
    target = read_target(connection, plan.target_schema, plan.target_name)
    forbidden = decide(plan, target).problem if target else f"{plan.target} is gone: run again"
    if forbidden:
        raise SinkError(forbidden)
    run(connection, f"ANALYZE {shadow.quoted}")
    with connection.transaction():
        counts = apply_difference(connection, plan, shadow)
        record(connection)
    return Published("difference", why, *counts)


def _refuse_empty(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> None:
    """Trap 16: an empty source must not empty the target."""
    if plan.allow_empty or _has_rows(connection, shadow.quoted):
        return
    target = read_target(connection, plan.target_schema, plan.target_name)
    if target is not None and _has_rows(connection, Shadow(plan.target_schema, plan.target_name).quoted):
        raise DataError(
            f"{plan.source} is empty on every shard, {plan.target} is not: nothing was changed",
            "if it is meant to be empty, set allow_empty: true",
        )


def _has_rows(connection: SinkConnection, quoted: str) -> bool:
    return bool(run(connection, f"SELECT FROM {quoted} LIMIT 1"))
