"""When a pipeline is due: slots of a schedule, in its time zone, over both changes of the clock. Pure.

Cron is read by the wall clock, `@every` by elapsed time. The rules at a change of the clock (trap 25), as in
docs/schedule.md: a time that is skipped runs once, at the next instant that exists; of a time that comes twice, an
expression that names its times runs at the first, one that repeats within the day (`Cron.repeats`) at both.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile, islice, takewhile
from typing import Any, Literal
from zoneinfo import ZoneInfo

from etl_cli.runtime.config.model import Config, ScheduleEntry
from etl_cli.runtime.config.schedule_syntax import LONGEST_INTERVAL_S, Cron, Every, parse_schedule

Catchup = Literal["none", "latest", "all"]

MOST_SLOTS = 1000
"""How many slots one answer holds at most; the next question goes on after the last of them."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_TICK = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Slot:
    """One due time of one entry: an aware UTC instant, and what its run does.

    `entry` counts from 0 in the schedule's list. `params` are the pipeline's, with the entry's above them.
    Two slots may have one `due`; `entry` tells them apart, so a claim of a slot needs both.
    """

    due: datetime
    entry: int
    tables: tuple[str, ...] | None = None
    full: bool = False
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def order(self) -> tuple[datetime, bool, int]:
        """Slots run in this order: by due time, at one instant the full one first, then as the list has them."""
        return self.due, not self.full, self.entry


@dataclass(frozen=True)
class Schedule:
    """All entries of a pipeline, and the window in which their slots count, both ends included.

    Questions take aware datetimes of any zone, and raise ValueError for a naive one.
    """

    pipeline_id: str
    zone: ZoneInfo
    entries: tuple[tuple[Cron | Every, ScheduleEntry], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    start: datetime | None = None
    end: datetime | None = None
    jitter_s: float = 0.0

    @classmethod
    def of(cls, config: Config) -> Schedule:
        """The schedule of a valid configuration; without entries where `schedule` is null: by hand only."""
        given = config.schedule or []
        entries = [ScheduleEntry(at=given)] if isinstance(given, str) else given
        zone = ZoneInfo(config.timezone)
        return cls(
            pipeline_id=config.id,
            zone=zone,
            entries=tuple((parse_schedule(entry.at), entry) for entry in entries),
            params=config.params,
            start=_bound(config.start_at, zone, last=False),
            end=_bound(config.end_at, zone, last=True),
            jitter_s=min(config.jitter, LONGEST_INTERVAL_S),
        )

    def next_slot(self, after: datetime | Slot) -> Slot | None:
        """The earliest slot after an instant, or the one that follows another slot, maybe at the same instant."""
        return next(self.slots_after(after), None)

    def next_slots(self, now: datetime, count: int = 3) -> list[Slot]:
        """The next `count` slots, fewer where the window ends."""
        return list(islice(self.slots_after(now), count))

    def slots_between(self, after: datetime | Slot, until: datetime, limit: int = MOST_SLOTS) -> list[Slot]:
        """The slots after `after`, up to `until` included: the earliest `limit` of them."""
        last = _utc(until)
        return list(islice(takewhile(lambda slot: slot.due <= last, self.slots_after(after)), limit))

    def slots_after(self, after: datetime | Slot) -> Iterator[Slot]:
        """All slots after an instant or after a slot, in their order; without end where the window has none."""
        if isinstance(after, Slot):
            everyone = self.slots_after(after.due - _TICK)
            return dropwhile(lambda slot: slot.order <= after.order, everyone)
        start = _utc(after)
        each = (self._slots_of(number, start) for number in range(len(self.entries)))
        return heapq.merge(*each, key=lambda slot: slot.order)

    def due_slots(self, last: datetime | Slot | None, now: datetime, catchup: Catchup) -> list[Slot]:
        """What a supervisor that was away runs now: it knows of slots up to `last`, None if it never ran.

        `none`: nothing that was missed, only a slot whose jitter has not passed yet. `latest`: of each entry the
        newest missed slot, so that a full copy on Sunday is not displaced by Monday's increments. `all`: every one,
        the earliest MOST_SLOTS, oldest first; ask again after the last of them. Who never ran has missed nothing.
        """
        present = _utc(now)
        if catchup == "none" or last is None:
            return [slot for slot in self._not_begun(present) if not _is_known(slot, last)]
        if catchup == "all":
            return self.slots_between(last, present)
        known = last.due - _TICK if isinstance(last, Slot) else _utc(last)
        newest = (self._newest_of(number, known, present) for number in range(len(self.entries)))
        return sorted((slot for slot in newest if slot and not _is_known(slot, last)), key=lambda slot: slot.order)

    def newest_slot(self, after: datetime, until: datetime) -> Slot | None:
        """The last slot after `after` and up to `until` included, of any entry."""
        newest = (self._newest_of(number, _utc(after), _utc(until)) for number in range(len(self.entries)))
        return max((slot for slot in newest if slot), key=lambda slot: slot.order, default=None)

    def begins_at(self, slot: Slot) -> datetime:
        """When the slot's run begins: `due` and its jitter."""
        return slot.due + _seconds(self.jitter_of(slot))

    def jitter_of(self, slot: Slot) -> float:
        """Seconds from `due` to the run: below `jitter` and before the next due time, the same whenever it is asked.

        It comes from the pipeline's id and the due time, so that slots of one instant keep their order.
        """
        if not self.jitter_s:
            return 0.0
        following = self.next_slot(slot.due)
        room = (following.due - slot.due).total_seconds() if following else math.inf
        return min(self.jitter_s, room) * _fraction(self.pipeline_id, slot.due)

    def _not_begun(self, now: datetime) -> list[Slot]:
        """Slots that are due while their jitter lasts: all of one instant, since jitter ends before the next."""
        newest = self.newest_slot(now - _seconds(self.jitter_s) - _TICK, now)
        due = self.slots_between(newest.due - _TICK, now) if newest else []
        return [slot for slot in due if self.begins_at(slot) >= now]

    def _slots_of(self, number: int, after: datetime) -> Iterator[Slot]:
        when, entry = self.entries[number]
        params = {**self.params, **entry.params}
        tables = None if entry.tables is None else tuple(entry.tables)
        if self.start is not None:
            after = max(after, self.start - _TICK)
        while (due := self._due_after(when, after)) is not None and (self.end is None or due <= self.end):
            yield Slot(due, number, tables, entry.full, params)
            after = due

    def _due_after(self, when: Cron | Every, after: datetime) -> datetime | None:
        try:
            if isinstance(when, Every):
                return _interval_after(when, self.start or EPOCH, after)
            return _cron_after(when, self.zone, after)
        except OverflowError:  # the end of year 9999
            return None

    def _newest_of(self, number: int, after: datetime, until: datetime) -> Slot | None:
        """Looks back in spans that double: a minutely entry that was away for a year is not counted through."""
        span = timedelta(minutes=1)
        until = until if self.end is None else min(until, self.end)
        while until > after:
            begin = max(after, until - span)
            newest = deque(takewhile(lambda slot: slot.due <= until, self._slots_of(number, begin)), maxlen=1)
            if newest or begin == after:
                return newest[0] if newest else None
            span = min(span * 2, until - after)
        return None


def _is_known(slot: Slot, last: datetime | Slot | None) -> bool:
    if last is None:
        return False
    return slot.order <= last.order if isinstance(last, Slot) else slot.due <= last


def _interval_after(every: Every, anchor: datetime, after: datetime) -> datetime:
    step = _seconds(every.seconds)
    return anchor + ((after - anchor) // step + 1) * step


def _cron_after(cron: Cron, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The earliest due instant after `after`: of the matching times of the wall clock, each with its instants.

    First instants ascend with the wall clock; a second one may come before a later time's first.
    """
    earliest: datetime | None = None
    for local in cron.times_after(_first_reading(zone, after)):
        instants = _instants(cron, zone, local)
        coming = [instant for instant in instants if instant > after]
        if coming and (earliest is None or coming[0] < earliest):
            earliest = coming[0]
        if earliest is not None and instants and instants[0] >= earliest:
            return earliest
    return earliest


def _first_reading(zone: ZoneInfo, after: datetime) -> datetime:
    """A wall clock time that no reading after `after` is below: earlier than its own if the clock will go back."""
    local = after.astimezone(zone)
    before, behind = _offsets(zone, local.replace(tzinfo=None))
    turns_back = not local.fold and behind < before
    return local.replace(tzinfo=None) - (before - behind if turns_back else timedelta())


def _instants(cron: Cron, zone: ZoneInfo, local: datetime) -> list[datetime]:
    """When a matching time of the wall clock is due: once, twice (it comes twice) or not at all."""
    before, behind = _offsets(zone, local)
    first = _instant(zone, local)
    if before < behind:
        begin = first.astimezone(zone).replace(tzinfo=None) - (behind - before)
        return [] if cron.hourly and _holds_the_hour_of(local, begin, behind - before) else [first]
    if before > behind and cron.repeats:
        return [first, _instant(zone, local, last=True)]
    return [first]


def _instant(zone: ZoneInfo, local: datetime, *, last: bool = False) -> datetime:
    """The instant of a wall clock time: the first or the last of two, the next that exists where it is skipped."""
    before, behind = _offsets(zone, local)
    by_before, by_behind = (local - before).replace(tzinfo=UTC), (local - behind).replace(tzinfo=UTC)
    if before < behind:
        return _change(zone, by_behind, by_before)
    return by_behind if last else by_before


def _holds_the_hour_of(local: datetime, begin: datetime, length: timedelta) -> bool:
    """Whether the whole hour is skipped: an hourly entry loses nothing then, an hour later is the next hour."""
    hour = local.replace(minute=0, second=0)
    return begin <= hour and hour + _HOUR <= begin + length


def _offsets(zone: ZoneInfo, local: datetime) -> tuple[timedelta, timedelta]:
    """UTC offsets of a wall clock time by what held before and behind a change of the clock, else twice the same."""
    before, behind = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert before is not None
    assert behind is not None
    return before, behind


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The instant at which the clock changes, after `low` and not after `high`; to the second."""
    old = low.astimezone(zone).utcoffset()
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        if middle.astimezone(zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return high


def _bound(text: str | None, zone: ZoneInfo, *, last: bool) -> datetime | None:
    """An end of the window. Without an offset it is in `zone`; a day alone is its begin, for the last bound its end."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if last and _is_day(text):
        return _instant(zone, moment + timedelta(days=1)) - _TICK
    return _instant(zone, moment, last=last)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _fraction(pipeline_id: str, due: datetime) -> float:
    """From 0 to below 1."""
    digest = hashlib.sha256(f"{pipeline_id} {due.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; give an aware datetime")
    return moment.astimezone(UTC)
