"""How one pipeline is: judged from its history, its schedule, its service and the time. Pure.

The first rule that holds decides:

1. `stopped`: somebody stopped the service, or it was never installed or started.
2. `dead`: nobody did, and yet it is down, waits to be restarted, or is restarted again and again.
3. `stalled`: it runs, but it or its run at work has given no sign for longer than it may.
4. `failing`: the ledger cannot be read; the last run that ended failed (also while it is tried again); or a run was
   interrupted and is not resumed.
5. `late`: a slot that came due while the service was up has no run, and none was at work then.
6. `running`: a run is at work.
7. `ok`: the last run ended well, or none was due yet.

Slots from before the service started are not missed: `catchup` has decided on them. Nor are those that a schedule
would have had before it was the schedule, nor those that passed while the pipeline was paused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal, get_args

from etl_cli.runtime.schedule import Schedule, Slot

State = Literal["ok", "running", "late", "failing", "stalled", "stopped", "dead"]
STATES: tuple[State, ...] = get_args(State)
WELL: frozenset[State] = frozenset({"ok", "running", "stopped"})
"""Nobody needs to be woken."""

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted", "passed"]

Condition = Literal["up", "stopped", "down"]

_TICK = timedelta(microseconds=1)
_LOOP = 2
"""So many restarts by the host are a loop, until the service has been up for `Patience.settled_s`."""


@dataclass(frozen=True)
class HistoryRow:
    """A run as the ledger remembers it. `due` is its slot's, None for a run by hand; `sign` its newest heartbeat.

    In state `passed` it is none: a slot that came due while the pipeline was paused.
    """

    run_id: int
    state: RunState
    began: datetime
    due: datetime | None = None
    ended: datetime | None = None
    sign: datetime | None = None
    error: str = ""


@dataclass(frozen=True)
class Service:
    """What the host says of the pipeline's service: since when it is up, and its last sign of life if known.

    `stopped` and `down` both do not run; `stopped` was somebody's wish. `told` is the host's word for it, `restarts`
    how often the host has started it again since somebody did. `schedule_since` is when the schedule was changed last.
    """

    pipeline: str
    condition: Condition = "up"
    since: datetime | None = None
    sign: datetime | None = None
    told: str = "is not running"
    restarts: int = 0
    schedule_since: datetime | None = None


@dataclass(frozen=True)
class Patience:
    """Seconds: without a sign of the service, without one of a run, between a due time and its run; up after a loop."""

    service_s: float = 120.0
    run_s: float = 600.0
    grace_s: float = 60.0
    settled_s: float = 600.0


@dataclass(frozen=True)
class Health:
    """A verdict, one line of why, and what an operator does next; nothing to do is an empty text."""

    state: State
    reason: str
    next_step: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to be woken."""
        return self.state in WELL


@dataclass(frozen=True)
class _Case:
    runs: Sequence[HistoryRow]
    schedule: Schedule
    now: datetime
    service: Service
    patience: Patience

    @property
    def at_work(self) -> HistoryRow | None:
        return next((run for run in self.runs if run.state == "running"), None)

    @property
    def last(self) -> HistoryRow | None:
        """The last run that ended by itself."""
        return next((run for run in self.runs if run.state in ("succeeded", "failed")), None)

    def passed_s(self, since: datetime) -> float:
        return (self.now - since).total_seconds()

    def command(self, verb: str, more: str = "") -> str:
        return f"`manage-pipeline {verb} {self.service.pipeline}{more}`"


def judge(
    history: Sequence[HistoryRow] | None,
    schedule: Schedule,
    now: datetime,
    service: Service,
    patience: Patience = Patience(),
) -> Health:
    """The pipeline's health. `history` is newest first and reaches back one good run; None: the ledger is out of reach.

    All times are aware.
    """
    case = _Case(history or (), schedule, now, service, patience)
    rules: Sequence[Callable[[_Case], Health | None]]
    rules = (_stopped, _dead, _restarting, _stalled_service, _stalled_run, _failing, _not_resumed, _late, _well)
    if history is None:
        rules = (_stopped, _dead, _restarting, _stalled_service, _out_of_reach)
    return next(verdict for rule in rules if (verdict := rule(case)) is not None)


def _stopped(case: _Case) -> Health | None:
    if case.service.condition != "stopped":
        return None
    step = f"{case.command('start')} when it is to run again"
    return Health("stopped", f"the service {case.service.told}", step)


def _dead(case: _Case) -> Health | None:
    if case.service.condition != "down":
        return None
    step = f"read {case.command('logs', ' -n 100')}, then {case.command('start')}"
    return Health("dead", f"the service {case.service.told}; nothing runs while it is down", step)


def _restarting(case: _Case) -> Health | None:
    service = case.service
    settled = service.since is not None and case.passed_s(service.since) > case.patience.settled_s
    if service.restarts < _LOOP or settled:
        return None
    since = f", the last time at {_at(service.since)}" if service.since else ""
    step = f"read {case.command('logs', ' -n 100')}; it counts as well again once it has been up for a while"
    return Health("dead", f"the service crashes and was restarted {service.restarts} times{since}", step)


def _stalled_service(case: _Case) -> Health | None:
    sign = case.service.sign
    if sign is None or case.passed_s(sign) <= case.patience.service_s:
        return None
    step = f"{case.command('restart')}: what was committed stays, the run resumes"
    return Health("stalled", f"the service has given no sign since {_at(sign)}", step)


def _stalled_run(case: _Case) -> Health | None:
    run = case.at_work
    sign = (run.sign or run.began) if run else case.now
    if run is None or case.passed_s(sign) <= case.patience.run_s:
        return None
    step = f"read {case.command('logs', ' -n 100')}, then {case.command('restart')}"
    return Health("stalled", f"run {run.run_id} has given no sign since {_at(sign)}", step)


def _out_of_reach(case: _Case) -> Health:
    step = f"see whether Postgres answers: `etl-cli check {case.service.pipeline}`; the service then goes on by itself"
    return Health("failing", "the ledger cannot be read, so no run can begin", step)


def _failing(case: _Case) -> Health | None:
    run = case.last
    if run is None or run.state != "failed":
        return None
    since_good = takewhile(lambda other: other.state != "succeeded", case.runs)
    count = sum(other.state == "failed" for other in since_good)
    told = f", {count} failures since the last good run" if count > 1 else ""
    again = f"; run {case.at_work.run_id} is at work" if case.at_work else ""
    why = f": {' '.join(run.error.split())}" if run.error else ""
    step = f"{case.command('logs', ' --level error')}; when it is put right, {case.command('run')}"
    named = f"run {run.run_id}" if run.run_id else "the last try, which the ledger does not know of,"
    return Health("failing", f"{named} failed at {_at(run.ended or run.began)}{told}{again}{why}", step)


def _not_resumed(case: _Case) -> Health | None:
    run = next((run for run in case.runs if run.state not in ("cancelled", "queued", "passed")), None)
    if run is None or run.state != "interrupted":
        return None
    stopped = run.ended or run.began
    if case.passed_s(max(stopped, case.service.since or stopped)) <= case.patience.grace_s:
        return None
    step = f"read {case.command('logs', ' -n 100')}; {case.command('restart')} resumes it"
    return Health("failing", f"run {run.run_id} was interrupted at {_at(stopped)} and is not resumed", step)


def _late(case: _Case) -> Health | None:
    missed = _missed(case)
    if missed is None:
        return None
    step = f"{case.command('logs', ' -n 100')} says why; {case.command('run')} makes up for it"
    return Health("late", f"the slot of {_at(missed.due)} has no run", step)


def _missed(case: _Case) -> Slot | None:
    """The newest slot that should have begun by now, unless a run was at work when it came due."""
    watched, latest = _watched_from(case), case.now - timedelta(seconds=case.patience.grace_s)
    newest = case.schedule.newest_slot(watched, latest)
    if newest is not None and case.schedule.begins_at(newest) > latest:
        newest = case.schedule.newest_slot(watched, newest.due - _TICK)
    if newest is None or any(_was_at_work(run, newest.due, case.now) for run in case.runs):
        return None
    return newest


def _watched_from(case: _Case) -> datetime:
    """From when on slots count: the newest that has a run, the service's start, the schedule's last change.

    Nothing known of runs and service, none counts.
    """
    known = [run.due or run.began for run in case.runs]
    known += [case.service.since] if case.service.since else []
    return max(*known, case.service.schedule_since or known[0]) if known else case.now


def _was_at_work(run: HistoryRow, moment: datetime, now: datetime) -> bool:
    return run.began <= moment <= (run.ended or now)


def _well(case: _Case) -> Health:
    following = case.schedule.next_slot(case.now)
    then = f"next slot {_at(following.due)}" if following else "no slot to come, it runs by hand"
    if case.at_work:
        return Health("running", f"run {case.at_work.run_id} is at work since {_at(case.at_work.began)}; {then}")
    if case.last:
        return Health("ok", f"run {case.last.run_id} succeeded at {_at(case.last.ended or case.last.began)}; {then}")
    if case.runs and case.runs[0].state != "passed":
        return Health("ok", f"run {case.runs[0].run_id} is {case.runs[0].state}; {then}")
    return Health("ok", f"no run yet; {then}", f"{case.command('run')} runs it now")


def _at(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")
