"""FROM: leaves that yield rows, and the joins over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from etl_cli.sandbox.standin.errors import not_supported
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.binder import Binder
from etl_cli.sandbox.standin.sql.predicates import Predicate, conjunction, keyed
from etl_cli.sandbox.standin.sql.scope import Scope, SourceScope
from etl_cli.sandbox.standin.sql.tree import conjuncts, walk
from etl_cli.sandbox.standin.store.definitions import Table
from etl_cli.sandbox.standin.store.version import TableVersion

Rows = Iterator[tuple[Any, ...]]


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
        one, other = keyed(binder.scalar(part.left), binder.scalar(part.right))
        if right == {self.place} and self.place not in left:
            self._left_keys.append(one)
            self._right_keys.append(other)
        elif left == {self.place} and self.place not in right:
            self._left_keys.append(other)
            self._right_keys.append(one)
        else:
            return False
        return True

    def _places(self, node: ast.Expression, binder: Binder) -> set[int]:
        return {binder.scope.resolve(item)[0] for item in walk(node) if isinstance(item, ast.Column)}

    def run(self, rows: Rows, leaves: list[Leaf]) -> Rows:
        """Yield the joined rows."""
        rights = list(self.leaf.rows())
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
