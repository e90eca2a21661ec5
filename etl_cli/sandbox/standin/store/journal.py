"""Change Tracking: what a tracked table's journal holds, and the net effect of its changes since a version.

The rules are the documentation's of CHANGETABLE: one row a key, relative to the version asked for; a row that was
deleted and inserted again is an update of all its columns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

INSERTED, UPDATED, DELETED = "I", "U", "D"
MASK_HEAD = b"\0\0\0\0"
COLUMN_NUMBER_BYTES = 4


@dataclass(frozen=True)
class TrackingOptions:
    """What ALTER DATABASE ... SET CHANGE_TRACKING = ON says; unit is DAYS, HOURS or MINUTES."""

    retention: int = 2
    unit: str = "DAYS"
    auto_cleanup: bool = True


class Touch(NamedTuple):
    """One change of one row: key tells rows apart, values are the primary key's.

    columns: numbers of the columns that an UPDATE set, None for all of them.
    """

    operation: str
    key: tuple[Any, ...]
    values: tuple[Any, ...]
    columns: frozenset[int] | None = None


class NetChange(NamedTuple):
    """What CHANGETABLE(CHANGES ...) says of one row."""

    version: int
    creation_version: int | None
    operation: str
    columns: bytes | None
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Journal:
    """The journal of one table at one moment. Later moments share the list and see more of it."""

    begin_version: int
    tracks_columns: bool = False
    cleanup_version: int = 0
    entries: list[tuple[int, Touch]] = field(default_factory=list)
    count: int = 0

    @property
    def min_valid_version(self) -> int:
        """The lowest version whose later changes are all here."""
        return max(self.begin_version, self.cleanup_version)

    def with_touches(self, version: int, touches: Iterable[Touch]) -> Journal:
        """Return the journal after a commit; only the latest journal of a table may be asked."""
        entries = self.entries if len(self.entries) == self.count else self.entries[: self.count]
        entries.extend((version, touch) for touch in touches)
        return replace(self, entries=entries, count=len(entries))

    def expired(self, version: int) -> Journal:
        """Return the journal without what happened up to a version, as the cleanup leaves it."""
        kept = [entry for entry in self.entries[: self.count] if entry[0] > version]
        cleaned = max(self.cleanup_version, version)
        return replace(self, cleanup_version=cleaned, entries=kept, count=len(kept))

    def net_changes(self, since: int | None) -> Iterator[NetChange]:
        """Yield one change a row, in the order of its first change; since None: all that is kept."""
        grouped: dict[tuple[Any, ...], list[tuple[int, Touch]]] = {}
        first = 0 if since is None else bisect_right(self.entries, since, hi=self.count, key=lambda entry: entry[0])
        for entry in self.entries[first : self.count]:
            grouped.setdefault(entry[1].key, []).append(entry)
        for entries in grouped.values():
            yield self._net(entries)

    def _net(self, entries: list[tuple[int, Touch]]) -> NetChange:
        operations = [touch.operation for _, touch in entries]
        version, last = entries[-1]
        operation = _net_operation(operations)
        created = max((number for number, touch in entries if touch.operation == INSERTED), default=None)
        mask = None
        if self.tracks_columns and operation == UPDATED and set(operations) == {UPDATED}:
            mask = _mask([touch.columns for _, touch in entries])
        return NetChange(version, created, operation, mask, last.values)


def _net_operation(operations: list[str]) -> str:
    if operations[-1] == DELETED:
        return DELETED
    return INSERTED if operations[0] == INSERTED else UPDATED


def _mask(parts: list[frozenset[int] | None]) -> bytes | None:
    """Return column numbers as SQL Server packs them; None for all columns."""
    numbers: set[int] = set()
    for part in parts:
        if part is None:
            return None
        numbers |= part
    return MASK_HEAD + b"".join(number.to_bytes(COLUMN_NUMBER_BYTES, "little") for number in sorted(numbers))


def in_mask(number: int, mask: bytes) -> bool:
    """Whether a column's number stands in a mask."""
    starts = range(len(MASK_HEAD), len(mask), COLUMN_NUMBER_BYTES)
    return any(int.from_bytes(mask[at : at + COLUMN_NUMBER_BYTES], "little") == number for at in starts)
