"""How the service stands, as the health endpoint shows it: renewed by the loop, read by the endpoint's threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from etl_cli.runtime.health import Health, HistoryRow, Service, judge
from etl_cli.runtime.schedule import Schedule

_LATE_BY = timedelta(seconds=60)


@dataclass(frozen=True)
class AtWork:
    """The attempt that is under way."""

    name: str
    phase: str
    rows: int
    tasks: int
    done: int
    heard_at: datetime


@dataclass(frozen=True)
class View:
    """What is known; `history` is newest first, None while the ledger is out of reach.

    The loop turned last at `sign` and is to turn again by `back_by` (None: only when something happens).
    """

    pipeline: str
    schedule: Schedule
    since: datetime
    sign: datetime
    back_by: datetime | None = None
    schedule_since: datetime | None = None
    history: Sequence[HistoryRow] | None = None
    at_work: AtWork | None = None
    succeeded: int = 0
    failed: int = 0
    rows: int = 0
    last_rows: int | None = None
    last_duration_s: float | None = None
    unrecorded: HistoryRow | None = None
    """The last attempt, where it failed and the ledger does not know of it."""

    def health(self) -> Health:
        """The verdict."""
        now = datetime.now(UTC)
        hangs = self.back_by is not None and now > self.back_by + _LATE_BY
        service = Service(
            self.pipeline,
            since=self.since,
            sign=self.sign if hangs else now,
            schedule_since=self.schedule_since,
        )
        history = self.history
        if history and self.at_work is not None:
            history = [_alive(row, self.at_work.heard_at) for row in history]
        if history is not None and self.unrecorded is not None:
            history = [self.unrecorded, *history]
        return judge(history, self.schedule, now, service)


def _alive(row: HistoryRow, heard_at: datetime) -> HistoryRow:
    return replace(row, sign=max(heard_at, row.sign or row.began)) if row.state == "running" else row
