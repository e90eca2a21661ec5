"""FROM: leaves that yield rows, and the joins over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from etl_cli.sandbox.standin.errors import not_supported
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.bound import Bound, Evaluate
from etl_cli.sandbox.standin.sql.predicates import Predicate, comparison_type, conjunction, keyed
from etl_cli.sandbox.standin.sql.scope import Scope, SourceScope
from etl_cli.sandbox.standin.sql.tree import conjuncts, walk
from etl_cli.sandbox.standin.store.column_store import ColumnStore
from etl_cli.sandbox.standin.store.definitions import Index, Table
from etl_cli.sandbox.standin.store.version import TableVersion
from etl_cli.sandbox.standin.types import SqlType

Rows = Iterator[tuple[Any, ...]]
LOOKUP_BELOW = 4  # one left row in so many of the right ones is still looked up by its key


@dataclass
class Leaf:
    """One source: fetch yields rows of the positions in scope.used, asked for when all is bound."""

    scope: SourceScope
    fetch: Callable[[list[int]], Iterable[tuple[Any, ...]]]
    table: Table | None = None
    version: TableVersion | None = None

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """Yield the rows with the columns that are used."""
        return self.fetch(self.scope.used)


LeafMaker = Callable[["ast.TableReference | ast.DerivedTable | ast.ValuesTable | ast.ChangeTable"], Leaf]


@dataclass
class _Step:
    """Joining the next leaf to all before it."""

    kind: str
    leaf: Leaf
    condition: ast.Expression | None


class From:
    """The sources of a query as a chain: the first leaf, then one join after the other."""

    def __init__(self, source: ast.Source | None, make_leaf: LeafMaker) -> None:
        self.scope = Scope()
        self.leaves: list[Leaf] = []
        self._steps: list[_Step] = []
        if source is not None:
            self._add(source, "CROSS", None, make_leaf)

    def _add(self, source: ast.Source, kind: str, condition: ast.Expression | None, make_leaf: LeafMaker) -> None:
        if isinstance(source, ast.Join):
            if kind != "CROSS":
                raise not_supported("a join in brackets")
            self._add(source.left, "CROSS", None, make_leaf)
            self._add(source.right, source.kind, source.condition, make_leaf)
            return
        leaf = make_leaf(source)
        leaf.scope.outer = kind in ("LEFT", "FULL")
        if kind in ("RIGHT", "FULL"):
            for earlier in self.leaves:
                earlier.scope.outer = True
        self._steps.append(_Step(kind, leaf, condition))
        self.leaves.append(leaf)
        self.scope.sources.append(leaf.scope)

    @property
    def single(self) -> Leaf | None:
        """The only leaf."""
        return self.leaves[0] if len(self.leaves) == 1 else None

    def plan(self, binder: Binder) -> Callable[[], Rows]:
        """Bind the join conditions; the result yields the joined rows, once everything else is bound too."""
        joins = [_Join(place, step, binder) for place, step in enumerate(self._steps)]

        def run() -> Rows:
            if not joins:
                return iter([()])
            rows: Rows = ((row,) for row in joins[0].leaf.rows())
            for join in joins[1:]:
                rows = join.run(rows, self.leaves)
            return rows

        return run


class _Join:
    """A join with the leaf at place; equal parts of its condition become a hash lookup."""

    def __init__(self, place: int, step: _Step, binder: Binder) -> None:
        self.place = place
        self.kind = step.kind
        self.leaf = step.leaf
        self._left_keys: list[Callable[[Any], Any]] = []
        self._right_keys: list[Callable[[Any], Any]] = []
        self._right_columns: list[int | None] = []  # positions in the leaf's table, where keys are its own
        rest: list[Predicate] = []
        for part in conjuncts(step.condition):
            if not self._take_equality(part, binder):
                rest.append(binder.predicate(part))
        self._rest = conjunction(rest) if rest else None

    def _take_equality(self, part: ast.Expression, binder: Binder) -> bool:
        if not isinstance(part, ast.Comparison) or part.operator != "=":
            return False
        left, right = (self._places(side, binder) for side in (part.left, part.right))
        if not left or not right:
            return False
        bounds = binder.scalar(part.left), binder.scalar(part.right)
        one, other = keyed(*bounds)
        if right == {self.place} and self.place not in left:
            self._take_keys(one, other, bounds[1], comparison_type(*bounds))
        elif left == {self.place} and self.place not in right:
            self._take_keys(other, one, bounds[0], comparison_type(*bounds))
        else:
            return False
        return True

    def _take_keys(self, left: Evaluate, right: Evaluate, bound: Bound, common: SqlType) -> None:
        self._left_keys.append(left)
        self._right_keys.append(right)
        own = bound.type == common or (bound.type.is_integer and common.is_integer)
        self._right_columns.append(bound.column[1] if bound.column is not None and own else None)

    def _places(self, node: ast.Expression, binder: Binder) -> set[int]:
        return {binder.scope.resolve(item)[0] for item in walk(node) if isinstance(item, ast.Column)}

    def run(self, rows: Rows, leaves: list[Leaf]) -> Rows:
        """Yield the joined rows."""
        rows, rights = self._right_rows(rows)
        nothing = (None,) * len(self.leaf.scope.used)
        lookup = self._lookup(rights)
        matched: set[int] = set()
        for row in rows:
            found = False
            for number in lookup(row):
                joined = (*row, rights[number])
                if self._rest is None or self._rest(joined):
                    found = True
                    matched.add(number)
                    yield joined
            if not found and self.kind in ("LEFT", "FULL"):
                yield (*row, nothing)
        if self.kind in ("RIGHT", "FULL"):
            empty = tuple((None,) * len(leaf.scope.used) for leaf in leaves[: self.place])
            for number, right in enumerate(rights):
                if number not in matched:
                    yield (*empty, right)

    def _right_rows(self, rows: Rows) -> tuple[Rows, list[tuple[Any, ...]]]:
        """Return the left rows, and the right ones: few left rows find theirs by the table's key."""
        index, version = self._index(), self.leaf.version
        if index is None or version is None or self.kind not in ("INNER", "LEFT"):
            return rows, list(self.leaf.rows())
        store, hidden, outside = version.content
        most = store.count // LOOKUP_BELOW
        few = list(islice(rows, most + 1))
        if len(few) > most:
            return chain(few, rows), list(self.leaf.rows())
        places = self._places_of_keys(few, index, store)
        positions = np.array([place for place in places if store.row_id(place) not in hidden], np.intp)
        used = self.leaf.scope.used
        found = list(store.rows(used, positions))
        found.extend(tuple([row[ordinal] for ordinal in used]) for row in outside.values())
        return iter(few), found

    def _index(self) -> Index | None:
        """Return a unique index over just the columns that are compared."""
        wanted = set(self._right_columns)
        if self.leaf.table is None or None in wanted or len(wanted) < len(self._right_columns):
            return None
        indexes = self.leaf.table.unique_indexes
        return next((index for index in indexes if {ordinal for ordinal, _ in index.columns} == wanted), None)

    def _places_of_keys(self, rows: list[Any], index: Index, store: ColumnStore) -> set[int]:
        parts = [self._left_keys[self._right_columns.index(ordinal)] for ordinal, _ in index.columns]
        keys = (tuple(part(row) for part in parts) for row in rows)
        places = (store.find(index, key) for key in keys if None not in key)
        return {place for place in places if place is not None}

    def _lookup(self, rights: list[tuple[Any, ...]]) -> Callable[[Any], Iterable[int]]:
        if not self._right_keys:
            everything = range(len(rights))
            return lambda row: everything
        table: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        blank = (None,) * self.place
        for number, right in enumerate(rights):
            key = tuple(part((*blank, right)) for part in self._right_keys)
            if None not in key:
                table[key].append(number)
        return lambda row: table.get(tuple(part(row) for part in self._left_keys), ())
