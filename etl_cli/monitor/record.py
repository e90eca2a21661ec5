"""The timer's look: what changed goes to the log and to whoever wants to know, once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from etl_cli.monitor.changes import Change, Outcome, after_telling, change, is_summary_due, summary
from etl_cli.monitor.log import MonitorLog
from etl_cli.monitor.look import Look, look_at, one_line
from etl_cli.monitor.memory import Memory, keep, recall
from etl_cli.runtime.alerts import Alert, deliver
from etl_cli.runtime.config.load import load_alerts
from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.runtime.redact import redact
from etl_cli.systemd import journal

SENDERS = 8
LOG_LINES = 20


@dataclass(frozen=True)
class Told:
    """What came of an alert."""

    outcome: Outcome
    words: str


def record(directories: Iterable[Path], *, now: datetime) -> bool:
    """Look at every pipeline and act on what changed; whether every alert found somebody who took it.

    Raises EtlError where nothing can be known of any of them, or nothing be kept.
    """
    state_directory, log = _place("STATE_DIRECTORY"), MonitorLog(_place("LOGS_DIRECTORY"))
    try:
        memory, problem = recall(state_directory)
        if problem:
            log.warning(problem)
        looks, problems = look_at(directories, user=False, now=now)
        return _Recording(state_directory, log, memory).of(looks, problems, now)
    finally:
        log.close()


class _Recording:
    """One look on its way into memory, log and alerts."""

    def __init__(self, directory: Path, log: MonitorLog, memory: Memory) -> None:
        self._directory = directory
        self._log = log
        self._memory = memory

    def of(self, looks: list[Look], problems: list[str], now: datetime) -> bool:
        known = self._memory.pipelines
        changes = {_key(look): change(known.get(_key(look)), look.health.state, now) for look in looks}
        self._memory.pipelines = {key: made.after for key, made in changes.items()}
        self._summarise(looks, problems, now)
        keep(self._directory, self._memory)  # what is owed is owed, also where this process is killed from here on
        for look in looks:
            if changes[_key(look)].reason is None:
                self._say(look, changes[_key(look)])
        return self._tell([look for look in looks if changes[_key(look)].reason], changes)

    def _tell(self, looks: list[Look], changes: dict[str, Change]) -> bool:
        with ThreadPoolExecutor(max_workers=SENDERS) as senders:
            sending: dict[Future[Told], Look] = {senders.submit(_tell, one, changes[_key(one)]): one for one in looks}
            taken = [self._told(sending[done], changes, done.result()) for done in as_completed(sending)]
        return all(taken)

    def _told(self, look: Look, changes: dict[str, Change], told: Told) -> bool:
        made = changes[_key(look)]
        self._memory.pipelines[_key(look)] = after_telling(made, told.outcome)
        keep(self._directory, self._memory)  # at once: what was told is not told again
        self._say(look, made, told)
        return told.outcome != "refused"

    def _say(self, look: Look, made: Change, told: Told | None = None) -> None:
        """A line for a change, and for an alert that is taken at last."""
        if not made.is_new and not (told and told.outcome == "told"):
            return
        words = told.words if told else ""
        parts = [one_line(look.health.reason), one_line(look.health.next_step), words]
        text = f"{look.name}: {made.before or 'first look'} -> {look.health.state}: {'; '.join(filter(None, parts))}"
        (self._log.info if look.health.is_well else self._log.error)(text)

    def _summarise(self, looks: list[Look], problems: list[str], now: datetime) -> None:
        if not is_summary_due(self._memory.summary_at, now):
            return
        self._log.info(summary([(look.name, look.health.state) for look in looks]))
        for problem in problems:
            self._log.warning(one_line(problem))
        self._memory.summary_at = now


def _tell(look: Look, made: Change) -> Told:
    """Send the alert; whatever is wrong with one pipeline's must not keep back another's."""
    try:
        return _sent(look, made)
    except Exception as error:
        return Told("refused", f"nobody is told: {type(error).__name__}: {one_line(str(error))}")


def _sent(look: Look, made: Change) -> Told:
    """Send it to every URL of the pipeline."""
    assert made.reason is not None
    try:
        alerts, secrets = load_alerts(look.service.directory)
    except EtlError as error:
        return Told("refused", f"nobody is told: {one_line(str(error))}")
    if not alerts.urls or made.reason not in alerts.on:
        return Told("unwanted", "nobody wants to be told" if alerts.urls else "nobody is told: alerts.urls is empty")
    run_id = look.last_run.run_id if look.last_run else None
    log = tuple(redact(line, secrets) for line in _last_lines(look))
    what, to_do = redact(look.health.reason, secrets), look.health.next_step
    alert = Alert(made.reason, look.name, what, run_id=run_id, log=log, to_do=to_do)
    refused = [f"{one.where} {one.problem}" for one in deliver(alerts, alert, secrets) if one.problem]
    if not refused:
        return Told("told", f"told: {made.reason}")
    everybody = len(refused) == len(alerts.urls)
    return Told("refused" if everybody else "told", f"the alert was not taken by: {'; '.join(refused)}")


def _last_lines(look: Look) -> list[str]:
    """What the service said last; an alert goes out without it where the journal may not be read."""
    service = look.service
    try:
        entries = journal.entries(service.unit, service.scope, lines=LOG_LINES, since=None, level=None)
        return [f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.level.upper():7} {entry.text}" for entry in entries]
    except EtlError as error:
        return [str(error)]


def _key(look: Look) -> str:
    return str(look.service.directory)


def _place(variable: str) -> Path:
    """A directory that systemd has made for the unit."""
    place = os.environ.get(variable, "").split(":")[0]
    if not place:
        raise UsageError(
            f"--record keeps its states in the directories of its unit, and ${variable} is not set",
            "install it with: sudo monitor-pipelines install-timer; a look at once: sudo systemctl start etl-monitor",
        )
    return Path(place)
