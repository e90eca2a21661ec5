"""From a name in FROM to a leaf: a table, a view, a catalogue table, an inner query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, invalid_object, not_supported, permission_denied
from etl_cli.sandbox.standin.sql import ast, functions, tracking
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import converted
from etl_cli.sandbox.standin.sql.modify import table_scope
from etl_cli.sandbox.standin.sql.scope import Scope, SourceColumn, SourceScope
from etl_cli.sandbox.standin.sql.sources import Leaf
from etl_cli.sandbox.standin.store.definitions import Table, View
from etl_cli.sandbox.standin.store.version import TableVersion

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext
    from etl_cli.sandbox.standin.sql.select import Query

CATALOGUE_SCHEMAS = frozenset({"sys", "information_schema"})


class LeafFactory:
    """Makes the leaves of one statement."""

    def __init__(self, context: ExecutionContext, query: Callable[[ast.Select, ExecutionContext], Query]) -> None:
        self.context = context
        self.query = query

    def __call__(self, source: ast.TableReference | ast.DerivedTable | ast.ValuesTable | ast.ChangeTable) -> Leaf:
        """Return the leaf; 208 for an unknown name, 229 without the right to read."""
        if isinstance(source, ast.DerivedTable):
            return self._derived(source.select, source.alias, source.columns)
        if isinstance(source, ast.ChangeTable):
            return self._changes(source)
        if isinstance(source, ast.ValuesTable):
            selects = [ast.Select(tuple(ast.SelectItem(item) for item in row)) for row in source.rows]
            first = ast.Select(selects[0].items, unions=tuple(selects[1:]))
            return self._derived(first, source.alias, source.columns)
        schema = source.name[-2].lower() if len(source.name) > 1 else ""
        leaf = self._catalogue(source) if schema in CATALOGUE_SCHEMAS else self._stored(source)
        if source.alias is not None:
            leaf.scope.names = (source.alias.lower(),)
        return leaf

    def resolve(self, name: ast.Name, right: str, line: int = 1) -> Table | View:
        """Return the table or view of a name."""
        database = self.context.session.database.name
        if len(name) == 3 and name[0].lower() not in ("", database.lower()):
            raise not_supported("another database than the current one: " + ".".join(name), line)
        schema = (name[-2] if len(name) > 1 else "") or "dbo"
        if name[-1].startswith("#"):
            raise not_supported("temporary tables", line)
        found = self.context.transaction.find(schema, name[-1])
        if found is None:
            raise invalid_object(".".join(name), line)
        if not self.context.allowed(found.object_id, right):
            raise permission_denied(right, found.name, database, found.schema)
        return found

    def _stored(self, source: ast.TableReference) -> Leaf:
        found = self.resolve(source.name, "SELECT", source.line)
        if isinstance(found, View):
            leaf = self._derived(found.select, found.name, found.columns)
            leaf.scope.names = (found.schema.lower(), found.name.lower())
            return leaf
        version = self.context.transaction.version(found)
        version.compact(found)
        return _table_leaf(table_scope(found), found, version)

    def _changes(self, source: ast.ChangeTable) -> Leaf:
        """Return CHANGETABLE(CHANGES ...); 22105 for a table that is not tracked, 22107 for a view."""
        found = self.resolve(source.name, "SELECT", source.line)
        if isinstance(found, View):
            raise tracking.not_a_table(".".join(source.name))
        if not self.context.allowed(found.object_id, "VIEW CHANGE TRACKING"):
            raise permission_denied(
                "VIEW CHANGE TRACKING", found.name, self.context.session.database.name, found.schema
            )
        bound = converted(Binder(Scope(), self.context, functions.make).scalar(source.version), t.BIGINT)
        journal = tracking.journal_of(found, self.context.session.database, self.context.transaction.state)
        columns = tracking.change_columns(found, source.columns, source.alias)
        scope = SourceScope((source.alias.lower(),), columns)
        return Leaf(scope, lambda used: _picked(tracking.change_rows(journal.net_changes(bound.value)), used))

    def _derived(self, select: ast.Select, alias: str, names: tuple[str, ...]) -> Leaf:
        query = self.query(select, self.context)
        titles = names or tuple(output.name for output in query.outputs)
        if len(titles) != len(query.outputs):
            raise SqlError(8158, f"'{alias}' has another number of columns than were specified in the column list.")
        if not all(titles):
            raise SqlError(8155, f"No column name was specified for a column of '{alias}'.")
        columns = tuple(
            SourceColumn(title, output.bound.type, output.bound.nullable)
            for title, output in zip(titles, query.outputs, strict=True)
        )
        return Leaf(SourceScope((alias.lower(),), columns), lambda used: _picked(query.rows(), used))

    def _catalogue(self, source: ast.TableReference) -> Leaf:
        from etl_cli.sandbox.standin import catalogue

        found = catalogue.find(source.name[-2].lower(), source.name[-1].lower())
        if found is None:
            raise invalid_object(".".join(source.name), source.line)
        if len(source.name) == 3 and source.name[0].lower() != self.context.session.database.name.lower():
            raise not_supported("the catalogue of another database", source.line)
        columns = tuple(SourceColumn(name, kind) for name, kind in found.columns)
        scope = SourceScope((source.name[-2].lower(), source.name[-1].lower()), columns)
        return Leaf(scope, lambda used: _picked(found.rows(self.context), used))


def _table_leaf(scope: SourceScope, table: Table, version: TableVersion) -> Leaf:
    def fetch(used: list[int]) -> Iterable[tuple[Any, ...]]:
        store, hidden, rows = version.content
        if store.count:
            for position, row in enumerate(store.rows(used)):
                if not hidden or store.row_id(position) not in hidden:
                    yield row
        for row in rows.values():
            yield tuple([row[place] for place in used])

    return Leaf(scope, fetch, table, version)


def _picked(rows: Iterable[tuple[Any, ...]], used: list[int]) -> Iterable[tuple[Any, ...]]:
    return (tuple([row[place] for place in used]) for row in rows)
