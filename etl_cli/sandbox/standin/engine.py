"""Runs statements: one method a kind, each yielding what goes to the client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any

from etl_cli.sandbox.standin import procedures, settings
from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.context import ExecutionContext
from etl_cli.sandbox.standin.errors import SqlError, invalid_column, not_supported
from etl_cli.sandbox.standin.results import Affected, Result, ResultSet, Silent, encode_rows
from etl_cli.sandbox.standin.session import Session
from etl_cli.sandbox.standin.sql import ast, define, functions, principals
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.leaves import LeafFactory
from etl_cli.sandbox.standin.sql.modify import Writer, assignment, whole_row_scope
from etl_cli.sandbox.standin.sql.scan import Scan
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.sql.select import Query, refuse_user_types
from etl_cli.sandbox.standin.sql.totals import matching_rows
from etl_cli.sandbox.standin.store.definitions import Column, Row, Table, View
from etl_cli.sandbox.standin.store.transaction import Transaction
from etl_cli.sandbox.standin.types import SqlType, SqlValue
from etl_cli.sandbox.standin.wire import tokens

Variables = dict[str, tuple[SqlType, SqlValue]]
STARTS_IMPLICIT = (
    ast.Insert, ast.Update, ast.Delete, ast.Truncate, ast.CreateTable, ast.AlterTable, ast.CreateIndex, ast.Drop,
    ast.CreateView, ast.CreateSchema, ast.Permission,
)  # fmt: skip
WAIT_POLL_S = 0.05


class Engine:
    """Statements of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, statement: ast.Statement, variables: Variables) -> Generator[Result]:
        """Run one statement; nested ones of IF yield theirs too. Rows are produced while they are taken."""
        if isinstance(statement, ast.If):
            yield from self._if(statement, variables)
            return
        plain = _PLAIN.get(type(statement))
        if plain is not None:
            yield from plain(self, statement, variables)
            return
        self._begin_implicitly(statement)
        yield from self._in_transaction(statement, variables)

    def _begin_implicitly(self, statement: ast.Statement) -> None:
        """SET IMPLICIT_TRANSACTIONS ON: what touches a table begins a transaction."""
        touches = isinstance(statement, STARTS_IMPLICIT) or (
            isinstance(statement, ast.Select) and statement.source is not None
        )
        if self.session.settings.implicit_transactions and self.session.transaction is None and touches:
            self.session.begin()

    def _in_transaction(self, statement: ast.Statement, variables: Variables) -> Generator[Result]:
        run = _TRANSACTIONAL[type(statement)]
        yield from self.within(variables, lambda context: run(self, statement, context))

    def within(self, variables: Variables, run: Callable[[ExecutionContext], Iterator[Result]]) -> Generator[Result]:
        """Run in the open transaction, or in one of the statement's own; a failed statement leaves nothing."""
        session = self.session
        transaction = session.transaction or session.new_transaction()
        own = session.transaction is None
        mark = transaction.mark
        try:
            transaction.begin_statement()
            yield from run(ExecutionContext(session, transaction, variables, self.query))
        except BaseException:
            if own:
                transaction.rollback()
            elif session.transaction is transaction:
                transaction.roll_back_to(mark)
            raise
        if own:
            transaction.commit()

    # --- queries -----------------------------------------------------------------------------------------------

    def query(self, select: ast.Select, context: ExecutionContext) -> Query:
        """Bind a query."""
        return Query(select, context, LeafFactory(context, self.query))

    def _select(self, statement: ast.Select, context: ExecutionContext) -> Iterator[Result]:
        query = self.query(statement, context)
        refuse_user_types(query)
        single = query.source.single
        scanned = None if single is None or query.grouped else single.table
        table = "" if scanned is None else scanned.full_name
        scan = Scan.of(query)
        blocks = scan.blocks() if scan is not None else encode_rows(query.columns, query.rows())
        yield ResultSet(query.columns, blocks, table)

    # --- rows --------------------------------------------------------------------------------------------------

    def _table(self, name: ast.Name, right: str, context: ExecutionContext) -> Table:
        """Return the table that a statement changes; 208, 229, and 50000 for a view."""
        found = LeafFactory(context, self.query).resolve(name, right)
        if isinstance(found, View):
            raise not_supported("changing rows through a view")
        return found

    def _writer(self, table: Table, context: ExecutionContext) -> Writer:
        return Writer(table, context.transaction, context, self.session.database.name)

    def _insert(self, statement: ast.Insert, context: ExecutionContext) -> Iterator[Result]:
        table = self._table(statement.name, "INSERT", context)
        writer = self._writer(table, context)
        targets = self._insert_targets(statement, table)
        if statement.select is not None:
            rows = self._selected_rows(statement.select, targets, writer, context)
        else:
            rows = self._value_rows(statement, targets, writer, context)
        count = writer.insert(rows)
        if writer.last_identity is not None:
            self.session.last_identity = writer.last_identity
        yield Affected(count, "INSERT")

    def _insert_targets(self, statement: ast.Insert, table: Table) -> list[int]:
        """Return the positions that the statement gives values for."""
        explicit = self.session.settings.identity_insert == table.object_id
        if statement.columns:
            targets = [_position(table, name) for name in statement.columns]
        elif statement.rows is None and statement.select is None:
            return []
        else:
            targets = [
                place for place, column in enumerate(table.columns)
                if not column.is_written_by_server and (column.identity is None or explicit)
            ]  # fmt: skip
        for place in targets:
            _refuse_written_by_server(table, table.columns[place])
            if table.columns[place].identity is not None and not explicit:
                raise SqlError(
                    544,
                    f"Cannot insert explicit value for identity column in table '{table.name}' when "
                    "IDENTITY_INSERT is set to OFF.",
                )
        return targets

    def _value_rows(
        self, statement: ast.Insert, targets: list[int], writer: Writer, context: ExecutionContext
    ) -> Iterator[list[SqlValue]]:
        rows = statement.rows if statement.rows is not None else ((),)
        binder = Binder(Scope(), context, functions.make)
        table = writer.table
        for row in rows:
            if len(row) != len(targets):
                raise SqlError(
                    110 if len(row) > len(targets) else 109,
                    "There are more columns in the INSERT statement than values "
                    "specified in the VALUES clause, or the other way round.",
                    severity=15,
                )
            given: dict[int, Bound] = {}
            for place, node in zip(targets, row, strict=True):
                given[place] = writer.default(table.columns[place]) if node is None else binder.scalar(node)
            yield self._complete(given, writer)

    def _complete(self, given: dict[int, Bound], writer: Writer) -> list[SqlValue]:
        values: list[SqlValue] = []
        for place, column in enumerate(writer.table.columns):
            bound = given.get(place)
            if bound is None and column.identity is not None:
                values.append(writer.next_identity(column))
                continue
            if bound is None:
                bound = writer.default(column)
            value = None if bound.is_null else assignment(writer.table, column, bound.type)(bound.value)
            if column.identity is not None and value is not None:
                writer.keep_identity(column, value)
            values.append(value)
        return values

    def _selected_rows(
        self, select: ast.Select, targets: list[int], writer: Writer, context: ExecutionContext
    ) -> Iterator[list[SqlValue]]:
        query = self.query(select, context)
        if len(query.outputs) != len(targets):
            raise SqlError(120, "The select list for the INSERT statement contains fewer items than the insert list.")
        table = writer.table
        convert = {
            place: assignment(table, table.columns[place], output.bound.type)
            for place, output in zip(targets, query.outputs, strict=True)
        }
        given = {place: number for number, place in enumerate(targets)}
        for row in list(query.rows()):
            values: list[SqlValue] = []
            for place, column in enumerate(table.columns):
                if place in given:
                    values.append(convert[place](row[given[place]]))
                elif column.identity is not None:
                    values.append(writer.next_identity(column))
                else:
                    default = writer.default(column)
                    values.append(assignment(table, column, default.type)(default.value))
            yield values

    def _find_rows(
        self, table: Table, where: ast.Expression | None, top: ast.Expression | None, context: ExecutionContext
    ) -> Callable[[], list[tuple[int, Row]]]:
        scope = whole_row_scope(table)
        binder = Binder(Scope([scope]), context, functions.make)
        limit = None if top is None else converted(binder.scalar(top), t.BIGINT).value

        def find() -> list[tuple[int, Row]]:
            version = context.transaction.version(table)
            return list(islice(matching_rows(version, where, binder, scope), limit))

        return find

    def _update(self, statement: ast.Update, context: ExecutionContext) -> Iterator[Result]:
        table = self._table(statement.name, "UPDATE", context)
        writer = self._writer(table, context)
        binder = Binder(Scope([whole_row_scope(table)]), context, functions.make)
        setters: list[tuple[int, Callable[[Any], SqlValue], Callable[[SqlValue], SqlValue]]] = []
        for name, node in statement.assignments:
            place = _position(table, name)
            column = table.columns[place]
            _refuse_written_by_server(table, column)
            if column.identity is not None:
                raise SqlError(8102, f"Cannot update identity column '{column.name}'.")
            bound = writer.default(column) if node is None else binder.scalar(node)
            convert = assignment(table, column, column.type if bound.is_null else bound.type)
            setters.append((place, bound.evaluate, convert))

        def change(row: Row) -> list[SqlValue]:
            values = list(row)
            for place, evaluate, convert in setters:
                values[place] = convert(evaluate((row,)))
            return values

        rows = writer.lock_rows(self._find_rows(table, statement.where, statement.top, context))
        yield Affected(writer.update(rows, change), "UPDATE")

    def _delete(self, statement: ast.Delete, context: ExecutionContext) -> Iterator[Result]:
        table = self._table(statement.name, "DELETE", context)
        writer = self._writer(table, context)
        rows = writer.lock_rows(self._find_rows(table, statement.where, statement.top, context))
        yield Affected(writer.delete(rows), "DELETE")

    def _truncate(self, statement: ast.Truncate, context: ExecutionContext) -> Iterator[Result]:
        define.truncate(self._table(statement.name, "ALTER", context), context.transaction)
        yield Silent()

    # --- definitions -------------------------------------------------------------------------------------------

    def _create_table(self, statement: ast.CreateTable, context: ExecutionContext) -> Iterator[Result]:
        self._require_administrator("CREATE TABLE")
        define.create_table(statement, self._schema(statement.name), context.transaction, context)
        yield Silent()

    def _schema(self, name: ast.Name) -> str:
        if len(name) == 3 and name[0].lower() not in ("", self.session.database.name.lower()):
            raise not_supported("another database than the current one: " + ".".join(name))
        return (name[-2] if len(name) > 1 else "") or "dbo"

    def _require_administrator(self, what: str) -> None:
        if not self.session.login.administrator:
            raise SqlError(262, f"{what} permission denied in database '{self.session.database.name}'.", severity=14)

    def _create_index(self, statement: ast.CreateIndex, context: ExecutionContext) -> Iterator[Result]:
        table = self._table(statement.table, "ALTER", context)
        define.create_index(statement, table, context.transaction)
        yield Silent()

    def _create_view(self, statement: ast.CreateView, context: ExecutionContext) -> Iterator[Result]:
        self._require_administrator("CREATE VIEW")
        schema, transaction = self._schema(statement.name), context.transaction
        old = transaction.state.find(schema, statement.name[-1]) if statement.alter else None
        if old is None:
            define.claim_name(schema, statement.name[-1], transaction)
        query = self.query(statement.select, context)
        columns = statement.columns or tuple(output.name for output in query.outputs)
        if not all(columns) or len(columns) != len(query.outputs):
            raise SqlError(4511, "Create View failed because no column name was specified for a column.")
        number = transaction.database.new_object_id() if old is None else old.object_id
        schema_name = transaction.state.schemas[schema.lower()][1]
        view = View(number, schema_name, statement.name[-1], columns, statement.select, statement.text)
        transaction.edit(lambda state: state.with_object(view))
        yield Silent()

    def _create_schema(self, statement: ast.CreateSchema, context: ExecutionContext) -> Iterator[Result]:
        self._require_administrator("CREATE SCHEMA")
        principals.create_schema(statement.name, context.transaction)
        yield Silent()

    def _alter_table(self, statement: ast.AlterTable, context: ExecutionContext) -> Iterator[Result]:
        table = self._table(statement.name, "ALTER", context)
        define.alter_table(statement, table, context.transaction, context)
        yield Silent()

    def _drop(self, statement: ast.Drop, context: ExecutionContext) -> Iterator[Result]:
        self._require_administrator("DROP")
        principals.drop(statement, context, self._schema)
        yield Silent()

    def _permission(self, statement: ast.Permission, context: ExecutionContext) -> Iterator[Result]:
        self._require_administrator(statement.action)
        number = 0
        if statement.name:
            number = LeafFactory(context, self.query).resolve(statement.name, "SELECT").object_id
        principals.change_rights(statement, number, context.transaction)
        yield Silent()

    def _create_principal(self, statement: ast.CreatePrincipal, context: ExecutionContext) -> Iterator[Result]:
        self._require_administrator(f"CREATE {statement.kind}")
        principals.create_principal(statement, self.session.instance, context.transaction)
        yield Silent()

    def _execute(self, statement: ast.Execute, context: ExecutionContext) -> Iterator[Result]:
        binder = Binder(Scope(), context, functions.make)
        arguments = [(name, binder.scalar(node)) for name, node in statement.arguments]
        yield from procedures.execute(statement.name[-1], arguments, self, context)

    # --- everything else ---------------------------------------------------------------------------------------

    def scratch_binder(self, variables: Variables) -> tuple[Binder, Transaction]:
        """Return a binder for expressions outside queries, and the transaction that it reads in."""
        transaction = self.session.transaction or self.session.new_transaction()
        transaction.begin_statement()
        context = ExecutionContext(self.session, transaction, variables, self.query)
        return Binder(Scope(), context, functions.make), transaction

    def evaluate(self, node: ast.Expression, variables: Variables, kind: SqlType | None = None) -> Bound:
        """Return the value of an expression outside a query."""
        binder, transaction = self.scratch_binder(variables)
        try:
            bound = binder.scalar(node)
            bound = bound if kind is None else converted(bound, kind)
            value = bound.value
            return Bound(bound.type, lambda row: value, constant=True, stable=False)
        finally:
            self._leave(transaction)

    def _leave(self, transaction: Transaction) -> None:
        if transaction is not self.session.transaction:
            transaction.rollback()

    def _if(self, statement: ast.If, variables: Variables) -> Iterator[Result]:
        binder, transaction = self.scratch_binder(variables)
        try:
            chosen = statement.then if binder.predicate(statement.condition)(()) else statement.otherwise
        finally:
            self._leave(transaction)
        for inner in chosen:
            yield from self.run(inner, variables)

    def _set(self, statement: ast.Set, variables: Variables) -> Iterator[Result]:
        settings.apply(statement, self.session, self)
        yield Silent()

    def _declare(self, statement: ast.Declare, variables: Variables) -> Iterator[Result]:
        kind = statement.type
        value = None if statement.value is None else self.evaluate(statement.value, variables, kind).value
        variables[statement.name] = (kind, value)
        yield Silent()

    def _set_variable(self, statement: ast.SetVariable, variables: Variables) -> Iterator[Result]:
        if statement.name not in variables:
            raise SqlError(137, f'Must declare the scalar variable "{statement.name}".', severity=15)
        kind = variables[statement.name][0]
        variables[statement.name] = (kind, self.evaluate(statement.value, variables, kind).value)
        yield Silent()

    def _transaction(self, statement: ast.Transaction, variables: Variables) -> Iterator[Result]:
        session = self.session
        if statement.action == "BEGIN":
            session.begin()
        elif statement.action == "COMMIT":
            session.commit()
        elif statement.action == "ROLLBACK":
            session.rollback(statement.name)
        else:
            session.save(statement.name)
        yield Silent()

    def _wait(self, statement: ast.WaitFor, variables: Variables) -> Iterator[Result]:
        ticks = self.evaluate(statement.delay, variables, t.time(7)).value
        self.session.instance.sleep((ticks or 0) / 10_000_000, self.session.check)
        yield Silent()

    def _use(self, statement: ast.Use, variables: Variables) -> Iterator[Result]:
        session = self.session
        found = session.instance.database(statement.database)
        if session.transaction is not None and found is not session.database:
            raise not_supported("USE inside a transaction")
        old, session.database = session.database, found
        text = f"Changed database context to '{found.name}'."
        yield Silent(
            tokens.environment(tokens.ENV_DATABASE, found.name, old.name)
            + tokens.message(SqlError(5701, text, severity=10, state=2))
        )

    def _create_database(self, statement: ast.CreateDatabase, variables: Variables) -> Iterator[Result]:
        self._require_administrator("CREATE DATABASE")
        self.session.instance.create_database(statement.name)
        yield Silent()

    def _alter_database(self, statement: ast.AlterDatabase, variables: Variables) -> Iterator[Result]:
        self._require_administrator("ALTER DATABASE")
        settings.alter_database(statement, self.session)
        yield Silent()

    def _print(self, statement: ast.Print, variables: Variables) -> Iterator[Result]:
        text = self.evaluate(statement.value, variables, t.nvarchar(4000)).value
        yield Silent(tokens.message(SqlError(0, text or "", severity=0)))

    def _raise(self, statement: ast.RaiseError, variables: Variables) -> Iterator[Result]:
        text = self.evaluate(statement.message, variables, t.nvarchar(2047)).value
        severity, state = (
            self.evaluate(node, variables, t.INT).value for node in (statement.severity, statement.state)
        )
        error = SqlError(statement.number, text, severity=severity, state=state)
        if severity > 10:
            raise error
        yield Silent(tokens.message(error))


def _position(table: Table, name: str) -> int:
    place = table.positions.get(name.lower())
    if place is None:
        raise invalid_column(name)
    return place


def _refuse_written_by_server(table: Table, column: Column) -> None:
    if column.is_rowversion:
        raise SqlError(273, "Cannot insert an explicit value into a timestamp column.")
    if column.computed is not None:
        raise SqlError(271, f'The column "{column.name}" cannot be modified because it is a computed column.')


_TRANSACTIONAL: dict[type, Callable[..., Iterator[Result]]] = {
    ast.Select: Engine._select, ast.Insert: Engine._insert, ast.Update: Engine._update, ast.Delete: Engine._delete,
    ast.Truncate: Engine._truncate, ast.CreateTable: Engine._create_table, ast.CreateIndex: Engine._create_index,
    ast.CreateView: Engine._create_view, ast.CreateSchema: Engine._create_schema,
    ast.AlterTable: Engine._alter_table, ast.Drop: Engine._drop, ast.Permission: Engine._permission,
    ast.CreatePrincipal: Engine._create_principal, ast.Execute: Engine._execute,
}  # fmt: skip
_PLAIN: dict[type, Callable[..., Iterator[Result]]] = {
    ast.Set: Engine._set, ast.Declare: Engine._declare, ast.SetVariable: Engine._set_variable,
    ast.Transaction: Engine._transaction, ast.WaitFor: Engine._wait, ast.Use: Engine._use,
    ast.CreateDatabase: Engine._create_database, ast.AlterDatabase: Engine._alter_database,
    ast.Print: Engine._print, ast.RaiseError: Engine._raise,
}  # fmt: skip
