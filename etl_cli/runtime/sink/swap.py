"""Puts a shadow in the target's place within one transaction.

A reader whose snapshot is older than the load would find the new table by its name and see none or
part of its rows, for rows are visible by their transaction and names are not. So a swap first makes
sure that no such snapshot is left; the lock on the old table keeps new readers waiting meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink import ddl
from etl_cli.runtime.sink.apply import decide
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import execute, query
from etl_cli.runtime.sink.shadow import Shadow, free_name
from etl_cli.runtime.sink.target import Target, TargetIndex, read_target

Record = Callable[[SinkConnection], None]

LOCK_PATIENCE = "500ms"
"""How long one try waits for a lock: new readers queue behind it, and a deadlock with one must end here before
Postgres looks for deadlocks (`deadlock_timeout`, 1 s) and ends the reader instead."""

LOCK_PATIENCE_WITH_AUTOVACUUM = "5s"
"""Autovacuum gives way to a waiter, but only when Postgres looks for deadlocks."""


class NotSwappableError(Exception):
    """The target cannot be swapped, now or later."""


class NotNowError(Exception):
    """A reader's snapshot stands in the way; it will go."""


def swap(
    connection: SinkConnection,
    plan: TablePlan,
    shadow: Shadow,
    indexes: tuple[TargetIndex, ...],
    loaded_xid: str,
    record: Record,
) -> None:
    """One try. After NotSwappableError, NotNowError or an error of psycopg nothing has changed.

    `indexes` are those built on the shadow; `loaded_xid` is a transaction id taken after the last row
    was committed.
    """
    with connection.transaction():
        before = read_target(connection, plan.target_schema, plan.target_name)
        _refuse_unswappable(plan, before)
        assert before is not None
        busy = connection.execute(query("autovacuum_holds"), {"oid": before.oid}).fetchone()
        patience = LOCK_PATIENCE_WITH_AUTOVACUUM if busy and busy[0] else LOCK_PATIENCE
        execute(connection, f"SET LOCAL lock_timeout = '{patience}'")
        _lock(connection, plan, before)
        target = read_target(connection, plan.target_schema, plan.target_name)
        _refuse_unswappable(plan, target)
        if target is None or target.oid != before.oid or target.indexes != indexes:
            raise NotSwappableError("the target was changed meanwhile")
        refuse_older_snapshots(connection, loaded_xid)
        _replace(connection, plan, shadow, target)
        record(connection)


def put_in_place(connection: SinkConnection, plan: TablePlan, shadow: Shadow, loaded_xid: str, record: Record) -> None:
    """Make the shadow the target where none was before; one try, as with `swap`."""
    with connection.transaction():
        if read_target(connection, plan.target_schema, plan.target_name) is not None:
            raise NotSwappableError(f"{plan.target} came into being while it was being loaded")
        execute(connection, f"ALTER TABLE {shadow.quoted} RENAME TO {quote_sink(plan.target_name)}")
        refuse_older_snapshots(connection, loaded_xid)
        if plan.key:
            _rename_key(connection, plan, shadow, free_name(connection, plan.target_schema, ddl.key_name(plan)))
        set_comments(connection, plan)
        record(connection)


def set_comments(connection: SinkConnection, plan: TablePlan) -> None:
    """Set the source's comments, in place of the shadow's own."""
    execute(connection, f"COMMENT ON TABLE {_target(plan)} IS NULL")
    for statement in ddl.comments(plan, plan.target_schema, plan.target_name):
        execute(connection, statement)


def refuse_older_snapshots(connection: SinkConnection, loaded_xid: str) -> None:
    """Raise NotNowError where a session's snapshot may be older than the load; this run's own do not count."""
    own = connection.info.parameter_status("application_name") or "etl-cli"
    pattern = own.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + " %"
    row = connection.execute(query("older_snapshots"), {"xid": loaded_xid, "own": pattern}).fetchone()
    if row and row[0]:
        raise NotNowError(f"{row[0]} open transaction(s) began before the load was complete")


def build_indexes(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> tuple[TargetIndex, ...]:
    """Build on the shadow what the target has besides its key; the target's indexes as they are now."""
    target = read_target(connection, plan.target_schema, plan.target_name)
    indexes = target.indexes if target else ()
    for number, index in enumerate(indexes):
        name = index_name(shadow, number)
        execute(connection, f"DROP INDEX IF EXISTS {quote_sink(shadow.schema, name)}")
        unique = "UNIQUE " if index.unique else ""
        method_and_columns = index.definition.removeprefix(index.head)
        execute(connection, f"CREATE {unique}INDEX {quote_sink(name)} ON {shadow.quoted}{method_and_columns}")
    return indexes


def index_name(shadow: Shadow, number: int) -> str:
    """The name of the shadow's counterpart of the target's index number `number`."""
    return shadow.part_name(f"_i{number}")


def _refuse_unswappable(plan: TablePlan, target: Target | None) -> None:
    if target is None:
        raise NotSwappableError("the target is gone")
    decision = decide(plan, target)
    if decision.how != "swap" or decision.problem:
        raise NotSwappableError(decision.problem or decision.why)


def _lock(connection: SinkConnection, plan: TablePlan, target: Target) -> None:
    """Lock the views before the table, as a reader does who comes through a view.

    LOCK TABLE on a view would lock all that it reads as well; setting its owner to its owner locks it alone.
    """
    for schema, name, owner, _, _ in _views(connection, target):
        execute(connection, f"ALTER VIEW {quote_sink(schema, name)} OWNER TO {quote_sink(owner)}")
    execute(connection, f"LOCK TABLE {_target(plan)} IN ACCESS EXCLUSIVE MODE")


def _replace(connection: SinkConnection, plan: TablePlan, shadow: Shadow, target: Target) -> None:
    views = _views(connection, target)
    grants = connection.execute(query("grants"), {"oid": target.oid}).fetchall()
    old = shadow.part_name("_old")
    execute(connection, f"ALTER TABLE {_target(plan)} RENAME TO {quote_sink(old)}")
    execute(connection, f"ALTER TABLE {shadow.quoted} RENAME TO {quote_sink(plan.target_name)}")
    for schema, name, _, definition, options in views:
        execute(connection, _create_or_replace_view(schema, name, definition, options))
    execute(connection, f"DROP TABLE {quote_sink(plan.target_schema, old)}")
    if plan.key:
        name = target.key.name if target.key else free_name(connection, plan.target_schema, ddl.key_name(plan))
        _rename_key(connection, plan, shadow, name)
    for number, index in enumerate(target.indexes):
        built = quote_sink(plan.target_schema, index_name(shadow, number))
        execute(connection, f"ALTER INDEX {built} RENAME TO {quote_sink(index.name)}")
    set_comments(connection, plan)
    _copy_grants(connection, plan, grants)
    _keep_comments(connection, plan, target)


def _views(connection: SinkConnection, target: Target) -> list[Any]:
    return connection.execute(query("views"), {"oids": [d.view_oid for d in target.dependents]}).fetchall()


def _rename_key(connection: SinkConnection, plan: TablePlan, shadow: Shadow, name: str) -> None:
    execute(
        connection,
        f"ALTER TABLE {_target(plan)} RENAME CONSTRAINT {quote_sink(shadow.key_name)} TO {quote_sink(name)}",
    )


def _create_or_replace_view(schema: str, name: str, definition: str, options: list[str] | None) -> str:
    """CREATE OR REPLACE keeps the view's own grants and comments, but not its options."""
    settings = f" WITH ({', '.join(options)})" if options else ""
    return f"CREATE OR REPLACE VIEW {quote_sink(schema, name)}{settings} AS {definition}"


def _copy_grants(connection: SinkConnection, plan: TablePlan, grants: list[tuple[str | None, str, bool]]) -> None:
    """Give the new table exactly the grants of the old one; PUBLIC has no name in the catalogue."""
    row = connection.execute("SELECT to_regclass(%s)::oid::bigint", [_target(plan)]).fetchone()
    given = connection.execute(query("grants"), {"oid": row[0] if row else 0}).fetchall()
    for grantee, privilege, _ in given:
        if (grantee, privilege) not in {(name, right) for name, right, _ in grants}:
            execute(connection, f"REVOKE {privilege} ON {_target(plan)} FROM {_role(grantee)}")
    for grantee, privilege, grantable in given:
        if grantable and (grantee, privilege, False) in grants:
            execute(connection, f"REVOKE GRANT OPTION FOR {privilege} ON {_target(plan)} FROM {_role(grantee)}")
    for grantee, privilege, grantable in grants:
        if (grantee, privilege, grantable) not in given:
            option = " WITH GRANT OPTION" if grantable else ""
            execute(connection, f"GRANT {privilege} ON {_target(plan)} TO {_role(grantee)}{option}")


def _role(name: str | None) -> str:
    return "PUBLIC" if name is None else quote_sink(name)


def _keep_comments(connection: SinkConnection, plan: TablePlan, target: Target) -> None:
    """What somebody wrote on the old target wins over the source's own comments."""
    table = _target(plan)
    comments = {f"TABLE {table}": target.comment}
    spatial = {column.target: column.sink_type for column in plan.columns if column.spatial}
    for column in target.columns:
        if not _is_srid(spatial.get(column.name), column.type):
            comments[f"COLUMN {table}.{quote_sink(column.name)}"] = column.comment
    for index in target.indexes:
        comments[f"INDEX {quote_sink(plan.target_schema, index.name)}"] = index.comment
    if target.key and plan.key:
        comments[f"CONSTRAINT {quote_sink(target.key.name)} ON {table}"] = target.key.comment
        comments[f"INDEX {quote_sink(plan.target_schema, target.key.name)}"] = target.key.index_comment
    for what, text in comments.items():
        if text:
            execute(connection, f"COMMENT ON {what} IS {quote_text(text)}")


def _is_srid(planned: str | None, stands: str) -> bool:
    """Whether a column's comment is data: that of a spatial column which is, or was until now, WKB."""
    return planned is not None and "bytea" in (planned, stands)


def _target(plan: TablePlan) -> str:
    return quote_sink(plan.target_schema, plan.target_name)
