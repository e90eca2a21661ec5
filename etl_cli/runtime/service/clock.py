"""The service's clock: waits for slots, takes those that passed as `catchup` says, and tells which were missed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.ledger.slots import claim_slot, last_slot
from etl_cli.runtime.schedule import Schedule, Slot
from etl_cli.runtime.service.alarm import Alarm
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.timers import Timers
from etl_cli.runtime.service.work import Work


class Clock:
    """Calls `begin` with each slot that this service is to run, `passed` with those of a paused pipeline.

    Both are claimed in the ledger by then.
    """

    def __init__(
        self,
        config: Config,
        timers: Timers,
        link: Link,
        log: Log,
        alarm: Alarm,
        begin: Callable[[Slot], None],
        passed: Callable[[dt.datetime], None],
    ) -> None:
        self._timers = timers
        self._log = log
        self._alarm = alarm
        self._begin = begin
        self._passed = passed
        self._told_until = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._config = config
        self._link = link
        self.schedule = Schedule.of(config)
        self._counts_from: dt.datetime | None = None
        self._began = dt.datetime.now(dt.UTC)

    def take(self, config: Config) -> None:
        """Go by this configuration from now on: slots of a new schedule count from its taking."""
        self._config = config
        schedule = Schedule.of(config)
        if schedule != self.schedule:
            self.schedule, self._counts_from = schedule, dt.datetime.now(dt.UTC)

    def catch_up(self) -> None:
        """Take the slots that were due while nobody looked, and wait for the next one."""
        if not self._link.is_up:
            return
        now = dt.datetime.now(dt.UTC)
        last = self._link.ask(lambda c: last_slot(c, self._config.name)) or self._began
        last = max(last, self._counts_from or last)
        due = self.schedule.due_slots(last, now, self._config.catchup)
        self._tell_missed(self.schedule.slots_between(last, now), due)
        for slot in due:
            self._claim(slot)
        self.wait(now)

    def wait(self, after: dt.datetime | Slot) -> None:
        """Wait for the slot after this one."""
        slot = self.schedule.next_slot(after)
        if slot is None:
            self._timers.cancel("slot")
            return
        self._timers.at(self.schedule.begins_at(slot), "slot", partial(self._on_slot, slot))

    def _on_slot(self, slot: Slot) -> None:
        if self._link.is_up:
            self._claim(slot)
        if not self._link.is_up:  # or it has just been lost; catch_up decides when the ledger is back
            told = f"the slot {self.local(slot.due)} cannot run: there is no ledger to record it in"
            self._log.warning(f"{told}; catchup: {self._config.catchup} decides when the sink is back")
            self._alarm.raise_("missed", told, to_do=f"see whether Postgres answers: etl-cli check {self._config.name}")
            self._told_until = max(self._told_until, slot.due)
        self.wait(slot)

    def _claim(self, slot: Slot) -> None:
        claim = self._link.ask(lambda c: claim_slot(c, self._config.name, slot.due, slot.entry))
        if claim == "mine":
            self._begin(slot)
        elif claim == "paused":
            self._log.info(f"the slot {self.local(slot.due)} passes: the pipeline is paused")
            self._passed(slot.due)

    def _tell_missed(self, passed: Sequence[Slot], due: Sequence[Slot]) -> None:
        """Of slots that passed while the service or the sink was down; an alert tells each of them once."""
        now = dt.datetime.now(dt.UTC)
        missed = [slot for slot in passed if self.schedule.begins_at(slot) <= now]
        if not missed:
            return
        what = f"{len(missed)} slots were" if len(missed) > 1 else f"the slot {self.local(missed[0].due)} was"
        then = f"{len(due)} made up for now" if due else "none is made up for"
        told = f"{what} due while the service or the sink was down (catchup: {self._config.catchup}, {then})"
        self._log.warning(told)
        if missed[-1].due > self._told_until:
            self._told_until = missed[-1].due
            self._alarm.raise_("missed", told, to_do=f"nothing, or by hand: manage-pipeline run {self._config.name}")

    def named(self, work: Work) -> str:
        """A piece of work as the log names it."""
        return f"slot {self.local(work.slot)}" if work.slot is not None else work.cause

    def local(self, moment: dt.datetime) -> str:
        """A time as the pipeline's own zone has it."""
        return f"{moment.astimezone(self.schedule.zone):%Y-%m-%d %H:%M:%S %Z}"
