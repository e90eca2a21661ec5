"""The whole content of a database at one moment: a value; every commit makes the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from etl_cli.sandbox.standin.store.definitions import DatabaseObject, Table
from etl_cli.sandbox.standin.store.journal import Journal, Touch
from etl_cli.sandbox.standin.store.version import TableVersion
from etl_cli.sandbox.standin.types import Variant

PROPERTY_OF_OBJECT = 1


class PropertyKey(NamedTuple):
    """Whose extended property it is; minor is the column's number, 0 for the table itself."""

    major: int
    minor: int
    name: str


@dataclass(frozen=True)
class State:
    """Objects by number, their names, the tables' rows, schemas, properties, rights, journals of tracked tables."""

    objects: Mapping[int, DatabaseObject] = field(default_factory=dict)
    names: Mapping[tuple[str, str], int] = field(default_factory=dict)
    versions: Mapping[int, TableVersion] = field(default_factory=dict)
    schemas: Mapping[str, tuple[int, str]] = field(default_factory=lambda: {"dbo": (1, "dbo")})
    properties: Mapping[PropertyKey, Variant] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    granted: frozenset[tuple[str, int, str]] = frozenset()  # (user, object number or 0, right)
    denied: frozenset[tuple[str, int, str]] = frozenset()
    journals: Mapping[int, Journal] = field(default_factory=dict)
    change_version: int = 0  # CHANGE_TRACKING_CURRENT_VERSION()

    def find(self, schema: str, name: str) -> DatabaseObject | None:
        """Return the table or view of this name in any case."""
        number = self.names.get((schema.lower(), name.lower()))
        return None if number is None else self.objects[number]

    def with_object(self, item: DatabaseObject, version: TableVersion | None = None) -> State:
        """Return the state with an object added or replaced, and with its rows when they are given."""
        objects = {**self.objects, item.object_id: item}
        names = {**self.names, (item.schema.lower(), item.name.lower()): item.object_id}
        versions = self.versions if version is None else {**self.versions, item.object_id: version}
        return replace(self, objects=objects, names=names, versions=versions)

    def without_object(self, item: DatabaseObject) -> State:
        """Return the state after DROP; properties and rights go with the object."""
        number = item.object_id
        return replace(
            self,
            objects={key: value for key, value in self.objects.items() if key != number},
            names={key: value for key, value in self.names.items() if value != number},
            versions={key: value for key, value in self.versions.items() if key != number},
            properties={key: value for key, value in self.properties.items() if key.major != number},
            granted=frozenset(right for right in self.granted if right[1] != number),
            denied=frozenset(right for right in self.denied if right[1] != number),
            journals={key: value for key, value in self.journals.items() if key != number},
        )

    def with_versions(self, versions: Mapping[int, TableVersion]) -> State:
        """Return the state with other rows."""
        return replace(self, versions={**self.versions, **versions}) if versions else self

    def with_journal(self, number: int, journal: Journal | None) -> State:
        """Return the state with a table's journal put in place, or taken away (None)."""
        kept = {key: value for key, value in self.journals.items() if key != number}
        return replace(self, journals=kept if journal is None else {**kept, number: journal})

    def with_new_journal(self, number: int, *, tracks_columns: bool) -> State:
        """Return the state in which a table begins to be tracked."""
        return self.with_journal(number, Journal(self.change_version, tracks_columns))

    def with_journal_begun_anew(self, number: int) -> State:
        """Return the state after TRUNCATE: no client's version is valid any longer. It takes a version of its own."""
        old = self.journals.get(number)
        if old is None:
            return self
        version = self.change_version + 1
        return replace(self, change_version=version).with_journal(number, Journal(version, old.tracks_columns))

    def with_touches(self, touches: Mapping[int, list[Touch]]) -> State:
        """Return the state after a transaction changed rows of tracked tables: one version for all of them."""
        tracked = {number: found for number, found in touches.items() if found and number in self.journals}
        if not tracked:
            return self
        version = self.change_version + 1
        written = {number: self.journals[number].with_touches(version, found) for number, found in tracked.items()}
        return replace(self, change_version=version, journals={**self.journals, **written})

    def tables(self) -> list[Table]:
        """Return the tables by number."""
        return [item for _, item in sorted(self.objects.items()) if isinstance(item, Table)]
