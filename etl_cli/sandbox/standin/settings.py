"""SET and ALTER DATABASE ... SET: what is kept, what changes no answer here, what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.errors import SqlError, not_supported
from etl_cli.sandbox.standin.session import Session
from etl_cli.sandbox.standin.sql import ast, tracking
from etl_cli.sandbox.standin.sql.leaves import LeafFactory

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.engine import Engine

# accepted with any value: they change nothing that the stand-in answers
_INERT_WORDS = """
DEADLOCK_PRIORITY ARITHABORT ARITHIGNORE ANSI_DEFAULTS ANSI_NULL_DFLT_ON ANSI_NULL_DFLT_OFF CURSOR_CLOSE_ON_COMMIT
NUMERIC_ROUNDABORT QUERY_GOVERNOR_COST_LIMIT STATISTICS CONTEXT_INFO DATEFIRST
"""
INERT = frozenset(_INERT_WORDS.split())
# accepted with ON only: the stand-in knows no other behaviour
ONLY_ON = frozenset({"ANSI_NULLS", "ANSI_PADDING", "ANSI_WARNINGS", "QUOTED_IDENTIFIER", "CONCAT_NULL_YIELDS_NULL"})
ONLY_OFF = frozenset({"FMTONLY", "NOEXEC", "PARSEONLY", "SHOWPLAN_ALL", "SHOWPLAN_TEXT", "SHOWPLAN_XML", "FORCEPLAN",
                      "REMOTE_PROC_TRANSACTIONS", "OFFSETS"})  # fmt: skip
FLAGS = {"NOCOUNT": "no_count", "IMPLICIT_TRANSACTIONS": "implicit_transactions", "XACT_ABORT": "abort_on_error"}
NO_LIMIT = frozenset({"-1", "2147483647", "2147483646"})


def apply(statement: ast.Set, session: Session, engine: Engine) -> None:
    """Run SET; 50000 for an option or a value that would change answers and is not known here."""
    for option in statement.options:
        _apply(option, statement, session, engine)


def _apply(option: str, statement: ast.Set, session: Session, engine: Engine) -> None:
    value = statement.value
    if option == "ISOLATION":
        session.settings.isolation = "READ COMMITTED" if value == "READ UNCOMMITTED" else value
        if session.transaction is not None:
            session.transaction.isolation = session.settings.isolation
    elif option == "LOCK_TIMEOUT":
        session.settings.lock_timeout_ms = int(value)
        if session.transaction is not None:
            session.transaction.waiting.lock_timeout_ms = int(value)
    elif option == "IDENTITY_INSERT":
        _identity_insert(statement, session, engine)
    elif option in FLAGS and value in ("ON", "OFF"):
        setattr(session.settings, FLAGS[option], value == "ON")
    elif not _is_inert(option, value):
        raise not_supported(f"SET {option} {value}")


def _is_inert(option: str, value: str) -> bool:
    if option == "TEXTSIZE":
        return value in NO_LIMIT
    if option == "ROWCOUNT":
        return value == "0"
    if option == "LANGUAGE":  # it decides how dates are read
        return value in ("US_ENGLISH", "ENGLISH")
    if option == "DATEFORMAT":
        return value == "MDY"
    return option in INERT or (option in ONLY_ON and value == "ON") or (option in ONLY_OFF and value == "OFF")


def _identity_insert(statement: ast.Set, session: Session, engine: Engine) -> None:
    from etl_cli.sandbox.standin.context import ExecutionContext

    transaction = session.transaction or session.new_transaction()
    try:
        transaction.begin_statement()
        context = ExecutionContext(session, transaction, {}, engine.query)
        table = LeafFactory(context, engine.query).resolve(statement.name, "ALTER")
    finally:
        if transaction is not session.transaction:
            transaction.rollback()
    other = session.settings.identity_insert
    if statement.value == "ON" and other not in (None, table.object_id):
        raise SqlError(8107, "IDENTITY_INSERT is already ON for another table. Cannot perform SET operation.")
    session.settings.identity_insert = table.object_id if statement.value == "ON" else None


def alter_database(statement: ast.AlterDatabase, session: Session) -> None:
    """Run ALTER DATABASE ... SET."""
    database = session.instance.database(statement.name) if statement.name else session.database
    if statement.option == "CHANGE_TRACKING":
        tracking.alter_database(statement, database)
        return
    on = statement.value == "ON"
    if statement.option == "ALLOW_SNAPSHOT_ISOLATION":
        database.allow_snapshot = on
    elif statement.option == "READ_COMMITTED_SNAPSHOT":
        database.read_committed_snapshot = on
    elif statement.option not in ("RECOVERY", "AUTO_CLOSE", "AUTO_SHRINK", "AUTO_UPDATE_STATISTICS", "PAGE_VERIFY"):
        raise not_supported(f"ALTER DATABASE SET {statement.option}")
