"""Puts a shadow in the target's place within one transaction.

A reader whose snapshot is older than the load would find the new table by its name and see none or
part of its rows, for rows are visible by their transaction and names are not. So a swap first makes
sure that no such snapshot is left; the lock on the old table keeps new readers waiting meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from etl_cli.runtime.names import quote_sink, quote_text, with_suffix
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink import ddl
from etl_cli.runtime.sink.apply import decide
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import query
from etl_cli.runtime.sink.shadow import Shadow, run
from etl_cli.runtime.sink.target import Target, TargetIndex, read_target

LOCK_PATIENCE = "2s"
"""How long one try waits for the table's lock: while it waits, new readers queue behind it."""


class NotSwappableError(Exception):
    """The target cannot be swapped now."""


def swap(
    connection: SinkConnection,
    plan: TablePlan,
    shadow: Shadow,
    indexes: tuple[TargetIndex, ...],
    loaded_xid: str,
    record: Callable[[SinkConnection], None],
) -> None:
    """One try. Raises NotSwappableError or psycopg's LockNotAvailable, then nothing has changed.

    `indexes` are those built on the shadow; `loaded_xid` is a transaction id taken after the last row
    was committed.
    """
    with connection.transaction():
        run(connection, f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'")
        run(connection, f"LOCK TABLE {quote_sink(plan.target_schema, plan.target_name)} IN ACCESS EXCLUSIVE MODE")
        target = read_target(connection, plan.target_schema, plan.target_name)
        if target is None or target.indexes != indexes:
            raise NotSwappableError("the target was changed meanwhile")
        decision = decide(plan, target)
        if decision.how != "swap":
            raise NotSwappableError(decision.why)
        _refuse_older_snapshots(connection, loaded_xid)
        _replace(connection, plan, shadow, target)
        record(connection)


def put_in_place(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> None:
    """Make the shadow the target where none was before."""
    run(connection, f"ALTER TABLE {shadow.quoted} RENAME TO {quote_sink(plan.target_name)}")
    take_names(connection, plan, shadow, None)


def take_names(connection: SinkConnection, plan: TablePlan, shadow: Shadow, key_name: str | None) -> None:
    """Name the key as it was called before, else as Postgres would, and set the source's comments."""
    quoted = quote_sink(plan.target_schema, plan.target_name)
    if plan.key:
        name = quote_sink(key_name or ddl.key_name(plan))
        run(connection, f"ALTER TABLE {quoted} RENAME CONSTRAINT {quote_sink(shadow.key_name)} TO {name}")
    run(connection, f"COMMENT ON TABLE {quoted} IS NULL")
    for statement in ddl.comments(plan, plan.target_schema, plan.target_name):
        run(connection, statement)


def _refuse_older_snapshots(connection: SinkConnection, loaded_xid: str) -> None:
    own = connection.info.parameter_status("application_name") or "etl-cli"
    pattern = own.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    row = connection.execute(query("older_snapshots"), {"xid": loaded_xid, "own": pattern}).fetchone()
    if row and row[0]:
        raise NotSwappableError(f"{row[0]} open transaction(s) began before the load was complete")


def _replace(connection: SinkConnection, plan: TablePlan, shadow: Shadow, target: Target) -> None:
    oid = {"oid": target.oid}
    views = connection.execute(query("views"), {"oids": [d.view_oid for d in target.dependents]}).fetchall()
    grants = connection.execute(query("grants"), oid).fetchall()
    old = with_suffix(plan.target_name, "__etl_old")
    run(connection, f"ALTER TABLE {quote_sink(plan.target_schema, plan.target_name)} RENAME TO {quote_sink(old)}")
    run(connection, f"ALTER TABLE {shadow.quoted} RENAME TO {quote_sink(plan.target_name)}")
    for schema, name, definition, options in views:
        run(connection, _create_or_replace_view(schema, name, definition, options))
    run(connection, f"DROP TABLE {quote_sink(plan.target_schema, old)}")
    take_names(connection, plan, shadow, target.primary_key_name)
    for number, index in enumerate(target.indexes):
        name = quote_sink(plan.target_schema, shadow.part_name(f"_i{number}"))
        run(connection, f"ALTER INDEX {name} RENAME TO {quote_sink(index.name)}")
    _copy_grants(connection, plan, grants)
    _keep_comments(connection, plan, target)


def _create_or_replace_view(schema: str, name: str, definition: str, options: list[str] | None) -> str:
    """CREATE OR REPLACE keeps the view's own grants and comments, but not its options."""
    settings = f" WITH ({', '.join(options)})" if options else ""
    return f"CREATE OR REPLACE VIEW {quote_sink(schema, name)}{settings} AS {definition}"


def _copy_grants(connection: SinkConnection, plan: TablePlan, grants: list[tuple[str | None, str, bool]]) -> None:
    """Give the new table exactly the grants of the old one; PUBLIC has no name in the catalogue."""
    quoted = quote_sink(plan.target_schema, plan.target_name)
    row = connection.execute("SELECT to_regclass(%s)::oid::bigint", [quoted]).fetchone()
    given = connection.execute(query("grants"), {"oid": row[0] if row else 0}).fetchall()
    for grantee, privilege, _ in given:
        run(connection, f"REVOKE {privilege} ON {quoted} FROM {_role(grantee)}")
    for grantee, privilege, grantable in grants:
        option = " WITH GRANT OPTION" if grantable else ""
        run(connection, f"GRANT {privilege} ON {quoted} TO {_role(grantee)}{option}")


def _role(name: str | None) -> str:
    return "PUBLIC" if name is None else quote_sink(name)


def _keep_comments(connection: SinkConnection, plan: TablePlan, target: Target) -> None:
    """What somebody wrote on the old target wins over the source's own comments."""
    quoted = quote_sink(plan.target_schema, plan.target_name)
    if target.comment:
        run(connection, f"COMMENT ON TABLE {quoted} IS {quote_text(target.comment)}")
    for column in target.columns:
        if column.comment:
            run(connection, f"COMMENT ON COLUMN {quoted}.{quote_sink(column.name)} IS {quote_text(column.comment)}")


def build_indexes(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> tuple[TargetIndex, ...]:
    """Build on the shadow what the target has besides its key; the target's indexes as they are now."""
    target = read_target(connection, plan.target_schema, plan.target_name)
    indexes = target.indexes if target else ()
    for number, index in enumerate(indexes):
        run(connection, f"DROP INDEX IF EXISTS {quote_sink(shadow.schema, shadow.part_name(f'_i{number}'))}")
        run(connection, _definition_for(index, plan, shadow, number))
    return indexes


def _definition_for(index: TargetIndex, plan: TablePlan, shadow: Shadow, number: int) -> str:
    """CREATE INDEX of the target, for the shadow.

    pg_get_indexdef writes `CREATE [UNIQUE] INDEX name ON schema.table USING ...`: what follows USING
    names columns only, what stands before is written anew.
    """
    head, using, rest = index.definition.partition(" USING ")
    unique = "UNIQUE " if head.startswith("CREATE UNIQUE ") else ""
    return f"CREATE {unique}INDEX {quote_sink(shadow.part_name(f'_i{number}'))} ON {shadow.quoted}{using}{rest}"
