"""What the end of an attempt means: it is told and recorded, and what failed is tried again or raises an alert."""

from __future__ import annotations

import datetime as dt
import signal

from etl_cli.runtime.health import HistoryRow
from etl_cli.runtime.ledger.history import recent_history
from etl_cli.runtime.ledger.rescue import drop_leftovers, rescue
from etl_cli.runtime.retry import is_permanent, next_try
from etl_cli.runtime.service.alarm import Alarm
from etl_cli.runtime.service.child import Child
from etl_cli.runtime.service.clock import Clock
from etl_cli.runtime.service.endings import Endings
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.outlook import Outlook
from etl_cli.runtime.service.reports import Report
from etl_cli.runtime.service.retries import Retries
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.work import Work
from etl_cli.runtime.sink.connect import SinkConnection


class Outcomes:
    """Of one service."""

    def __init__(
        self,
        taken: TakenConfig,
        link: Link,
        log: Log,
        clock: Clock,
        alarm: Alarm,
        outlook: Outlook,
        retries: Retries,
        endings: Endings,
    ) -> None:
        self._taken = taken
        self._link = link
        self._log = log
        self._clock = clock
        self._alarm = alarm
        self._outlook = outlook
        self._retries = retries
        self._endings = endings
        self.is_failing: bool | None = None
        """Whether the last run failed; None where that is not known yet."""

    def look_back(self) -> None:
        """Read the history anew, if the ledger is there."""
        history = self._history()
        if history is not None:
            self._outlook.look_back(history)
        self._know_the_last_run()

    def ended(self, child: Child, work: Work, code: int, *, stopping: bool) -> None:
        """An attempt has ended with this exit code; `stopping`: the service is, and has stopped it."""
        report = child.last or Report("ended")
        error = self._taken.redacted(report.error)
        if code == 0:
            self._succeeded(work, report)
        elif child.cancelled_by is not None:
            self._cancelled(child, work, child.cancelled_by)
        elif stopping:
            self._log.info(f"{self._clock.named(work)}: interrupted; it is resumed when the service starts again")
        else:
            self._failed(child, work, child.killed_for or error or _how(code), permanent=is_permanent(code))
        self._outlook.ended(report, self._history(), succeeded=code == 0, error=error)
        self._know_the_last_run()

    def _history(self) -> list[HistoryRow] | None:
        config = self._taken.config
        return self._link.ask(lambda c: recent_history(c, config.name, config.id))

    def _know_the_last_run(self) -> None:
        if self.is_failing is None and self._link.is_up:
            self.is_failing = self._outlook.last_run_failed

    def _succeeded(self, work: Work, report: Report) -> None:
        told = f"run {report.run_id} succeeded, {report.rows:,} rows in {report.seconds or 0:.1f} s"
        self._log.info(f"{self._clock.named(work)}: {told}", report.run_id)
        if self.is_failing:
            self._alarm.raise_("recovery", told, run_id=report.run_id)
        self.is_failing = False
        self._endings.finish(work, "succeeded")

    def _cancelled(self, child: Child, work: Work, by: str) -> None:
        run_id = child.last.run_id if child.last else None
        self._log.warning(f"{self._clock.named(work)}: cancelled by {by}", run_id)
        self._endings.finish(work, "cancelled", child, f"cancelled by {by}")
        self._link.ask(self._remove_what_was_cancelled)

    def _remove_what_was_cancelled(self, connection: SinkConnection) -> None:
        """What a killed attempt left beside its targets; one that ended by itself has removed it."""
        name = self._taken.config.name
        rescue(connection, name)
        drop_leftovers(connection, name, [], [], 0)

    def _failed(self, child: Child, work: Work, told: str, *, permanent: bool) -> None:
        run_id = child.last.run_id if child.last else None
        now = dt.datetime.now(dt.UTC)
        failed = work.failed(now)
        delay_s = next_try(
            self._taken.config.error_handling,
            failures=failed.failures,
            first_failure=failed.first_failure or now,
            now=now,
            permanent=permanent,
        )
        named = self._clock.named(work)
        if delay_s is not None:
            self._log.error(f"{named}: failed: {told}; try {failed.failures + 1} in {delay_s:.0f} s", run_id)
            self._retries.add(failed, delay_s)
            return
        self._log.error(f"{named}: failed, and is not tried again before the next slot: {told}", run_id)
        self.is_failing = True
        self._endings.finish(failed, "failed", child, told)
        tasks = child.last.failed if child.last else ()
        name = self._taken.config.name
        to_do = f"manage-pipeline logs {name} --level error; when it is put right, manage-pipeline run {name}"
        self._alarm.raise_("failure", told, run_id=run_id, tasks=tasks, to_do=to_do)


def _how(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
