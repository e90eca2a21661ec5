"""A database as a loader or a test holds it: run SQL, load columns, ask for counts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from etl_cli.sandbox.standin.bulk.load import Values, load
from etl_cli.sandbox.standin.context import ExecutionContext
from etl_cli.sandbox.standin.engine import Engine
from etl_cli.sandbox.standin.errors import invalid_object
from etl_cli.sandbox.standin.instance import Instance
from etl_cli.sandbox.standin.results import ResultSet
from etl_cli.sandbox.standin.session import Login, Session
from etl_cli.sandbox.standin.sql import tracking
from etl_cli.sandbox.standin.sql.modify import Writer
from etl_cli.sandbox.standin.sql.statements import parse_batch
from etl_cli.sandbox.standin.store.database import Database
from etl_cli.sandbox.standin.store.definitions import Table


class DatabaseHandle:
    """Works as sa, outside any connection; every call is a transaction of its own."""

    def __init__(self, instance: Instance, database: Database) -> None:
        self._instance = instance
        self._database = database
        self._held: dict[int, Session] = {}
        self._numbers = itertools.count(1)

    @property
    def name(self) -> str:
        """The database's name."""
        return self._database.name

    @property
    def open_transactions(self) -> int:
        """The number of transactions that have not ended."""
        return self._database.open_transactions

    @property
    def cached_bytes(self) -> int:
        """Bytes of encoded rows that are kept for replay."""
        return self._database.scans.used_bytes

    def _session(self) -> Session:
        return Session(self._instance, self._database, Login(self._instance.administrator, True), 0)

    def execute(self, sql: str) -> None:
        """Run a batch, each statement committed; SqlError at the first that fails."""
        self._run(sql, self._session())

    def _run(self, sql: str, session: Session) -> None:
        engine = Engine(session)
        variables: dict[str, Any] = {}
        for statement in parse_batch(sql):
            for result in engine.run(statement, variables):
                if isinstance(result, ResultSet):
                    for _ in result.blocks:
                        pass

    def load_columns(self, table: str, columns: Mapping[str, Values]) -> int:
        """Append rows given as {column: values} and return their count.

        Values are numpy arrays (integers as the engine holds them: decimals scaled, datetime2 in 100 ns ticks;
        datetime64; masked arrays for NULL) or lists of natural Python values with None for NULL. Identity,
        rowversion, computed columns and columns with a default may be left out. See bulk.load.
        """
        session = self._session()
        transaction = session.new_transaction()
        try:
            transaction.begin_statement()
            context = ExecutionContext(session, transaction, {}, Engine(session).query)
            found = context.find_object(table)
            if not isinstance(found, Table):
                raise invalid_object(table)
            count = load(found, transaction, Writer(found, transaction, context, self.name), columns)
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        return count

    def expire_changes(self, table: str) -> int:
        """Clean a tracked table's changes up to now, as if the retention had passed; return its min valid version.

        SqlError 208 for an unknown table, 22105 for one that is not tracked.
        """
        found = self._table(table)
        tracking.journal_of(found, self._database, self._database.state)
        return self._database.expire_changes(found.object_id)

    def hold(self, sql: str) -> int:
        """Begin a transaction, run a batch in it and leave it open; release() ends it by the number returned."""
        session = self._session()
        session.begin()
        try:
            self._run(sql, session)
        except BaseException:
            session.abandon()
            raise
        number = next(self._numbers)
        self._held[number] = session
        return number

    def release(self, number: int, *, commit: bool = True) -> None:
        """Commit or roll back what hold() left open; KeyError for a number that is not held."""
        session = self._held.pop(number)
        if commit:
            session.commit()
        else:
            session.rollback()

    def _table(self, table: str) -> Table:
        schema, _, name = table.rpartition(".")
        found = self._database.state.find(schema or "dbo", name)
        if not isinstance(found, Table):
            raise invalid_object(table)
        return found

    def row_count(self, table: str) -> int:
        """Return the committed rows of a table."""
        return self._database.state.versions[self._table(table).object_id].count

    def memory(self, table: str) -> dict[str, int]:
        """Return bytes of a table's body and of its encoded rows, and the rows of the body."""
        found = self._table(table)
        store = self._database.state.versions[found.object_id].content[0]
        encoded = sum(scan.kept.byte_count for scan in store.scans.values())
        return {"body_bytes": store.byte_count, "encoded_bytes": encoded, "rows": store.count}
