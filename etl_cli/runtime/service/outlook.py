"""What the service knows of its pipeline's health, and the endpoint that shows it where config.yaml asks for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.health import HistoryRow
from etl_cli.runtime.schedule import Schedule
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.reports import Report
from etl_cli.runtime.service.view import AtWork, View

if TYPE_CHECKING:
    from etl_cli.runtime.service.endpoint import Endpoint


class Outlook:
    """Told by the loop what happens; read by the endpoint's threads."""

    def __init__(self, config: Config, schedule: Schedule, log: Log) -> None:
        now = datetime.now(UTC)
        self._log = log
        self._endpoint: Endpoint | None = None
        self._listens: str | None = None
        self.view = View(config.name, schedule, since=now, sign=now)

    def take(self, config: Config, schedule: Schedule) -> None:
        """Go by this configuration from now on."""
        if schedule != self.view.schedule:
            self.view = replace(self.view, schedule=schedule, schedule_since=datetime.now(UTC))
        if config.health.listen == self._listens:
            return
        self.close()
        self._listens = config.health.listen
        if self._listens is None:
            return
        from etl_cli.runtime.service.endpoint import Endpoint

        try:
            self._endpoint = Endpoint(self._listens, lambda: self.view)
        except OSError as error:
            self._log.error(f"health.listen: {self._listens} is not to be had: {error.strerror or error}")

    def sleeps(self, seconds: float | None) -> None:
        """The loop is about to sleep so long; None: until something happens."""
        now = datetime.now(UTC)
        back_by = now + timedelta(seconds=seconds) if seconds is not None else None
        self.view = replace(self.view, sign=now, back_by=back_by)

    def look_back(self, history: Sequence[HistoryRow]) -> None:
        """The ledger's history as it is now."""
        self.view = replace(self.view, history=history)

    def passed(self, due: datetime) -> None:
        """A slot came due while the pipeline is paused."""
        if self.view.history is not None:
            runs = [row for row in self.view.history if row.state != "passed"]
            self.view = replace(self.view, history=[*runs, HistoryRow(0, "passed", due, due, due)])

    def lost_ledger(self) -> None:
        """Nothing is known of runs until it is back."""
        self.view = replace(self.view, history=None)

    @property
    def last_run_failed(self) -> bool:
        """Of the runs that ended by themselves."""
        ended = [run for run in self.view.history or () if run.state in ("succeeded", "failed")]
        return bool(ended) and ended[0].state == "failed"

    def heard(self, name: str, report: Report) -> None:
        """The attempt at work has told something."""
        work = AtWork(name, report.phase, report.rows, report.tasks, report.done, datetime.now(UTC))
        self.view = replace(self.view, at_work=work)

    def ended(self, report: Report, history: Sequence[HistoryRow] | None, *, succeeded: bool, error: str = "") -> None:
        """An attempt has ended; one that failed before it reached the ledger is remembered here.

        `history` has the run's end, None where the ledger is away. All is shown at once: whoever looks in between
        would count a run of which nothing else is known.
        """
        view = self.view
        now = datetime.now(UTC)
        lost = None if succeeded or report.run_id is not None else HistoryRow(0, "failed", now, ended=now, error=error)
        self.view = replace(
            view,
            history=view.history if history is None else history,
            at_work=None,
            unrecorded=lost,
            succeeded=view.succeeded + succeeded,
            failed=view.failed + (not succeeded),
            rows=view.rows + report.rows,
            last_rows=report.rows,
            last_duration_s=report.seconds,
        )

    def close(self) -> None:
        """Stop listening."""
        if self._endpoint is not None:
            self._endpoint.close()
        self._endpoint = None
