"""Runs statements: one method a kind, each yielding what goes to the client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from etl_cli.sandbox.standin.context import ExecutionContext
from etl_cli.sandbox.standin.results import Result, ResultSet, encode_rows
from etl_cli.sandbox.standin.run import definitions, rows
from etl_cli.sandbox.standin.run import session as session_statements
from etl_cli.sandbox.standin.session import Session
from etl_cli.sandbox.standin.sql import ast, functions
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, converted
from etl_cli.sandbox.standin.sql.leaves import LeafFactory
from etl_cli.sandbox.standin.sql.scan import Scan
from etl_cli.sandbox.standin.sql.scope import Scope
from etl_cli.sandbox.standin.sql.select import Query, refuse_user_types
from etl_cli.sandbox.standin.store.transaction import Transaction
from etl_cli.sandbox.standin.types import SqlType, SqlValue

Variables = dict[str, tuple[SqlType, SqlValue]]
STARTS_IMPLICIT = (
    ast.Insert, ast.Update, ast.Delete, ast.Truncate, ast.CreateTable, ast.AlterTable, ast.CreateIndex, ast.Drop,
    ast.CreateView, ast.CreateSchema, ast.Permission,
)  # fmt: skip


class Engine:
    """Statements of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, statement: ast.Statement, variables: Variables) -> Generator[Result]:
        """Run one statement; nested ones of IF yield theirs too. Rows are produced while they are taken."""
        if isinstance(statement, ast.If):
            yield from self._if(statement, variables)
            return
        plain = session_statements.RUNNERS.get(type(statement))
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

    def run_select(self, statement: ast.Select, context: ExecutionContext) -> Iterator[Result]:
        """Yield the rows of a query."""
        query = self.query(statement, context)
        refuse_user_types(query)
        single = query.source.single
        scanned = None if single is None or query.grouped else single.table
        table = "" if scanned is None else scanned.full_name
        scan = Scan.of(query)
        blocks = scan.blocks() if scan is not None else encode_rows(query.columns, query.rows())
        yield ResultSet(query.columns, blocks, table)

    # --- expressions outside queries -----------------------------------------------------------------------------

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


_TRANSACTIONAL: dict[type, Callable[..., Iterator[Result]]] = {
    ast.Select: Engine.run_select,
    **rows.RUNNERS,
    **definitions.RUNNERS,
}
