"""The supervisor: it sleeps until something is due, runs attempts in children, and outlives them all.

It imports no driver and no Arrow, so that it stays small, and never the pipeline's own code.
"""

from __future__ import annotations

import datetime as dt
import selectors
import signal
import socket
from functools import partial
from pathlib import Path

from etl_cli.runtime.config import Config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.heartbeat import running
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.requests import OpenRequest, take_request
from etl_cli.runtime.ledger.rescue import drop_leftovers, rescue
from etl_cli.runtime.ledger.retention import prune
from etl_cli.runtime.redact import redact, secrets_in
from etl_cli.runtime.request import Request
from etl_cli.runtime.retry import is_permanent, next_try
from etl_cli.runtime.schedule import Slot
from etl_cli.runtime.service.alarm import Alarm
from etl_cli.runtime.service.attempts import Attempts
from etl_cli.runtime.service.child import Child
from etl_cli.runtime.service.clock import Clock
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.notify import Notifier
from etl_cli.runtime.service.outlook import Outlook
from etl_cli.runtime.service.reports import Report
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.timers import Timers, use_utc
from etl_cli.runtime.service.unfinished import unfinished_work, work_of_request, work_of_slot
from etl_cli.runtime.service.unrecorded import Ending, Unrecorded
from etl_cli.runtime.service.work import Queue, Work
from etl_cli.runtime.sink.connect import SinkConnection

RECONNECT_S = 16.0
"""The sink that is away is tried again after 1 s, then after twice as long each time, in the end after this."""

PRUNE_S = 86_400.0
LINGER_LOOK_S = 10.0
_MARGIN_S = 5.0


def serve(directory: Path) -> int:
    """Serve the pipeline in `directory` until a signal ends it; the exit code."""
    use_utc()
    log = Log(directory.name)
    taken = TakenConfig(directory)
    try:
        config = taken.read()
        log = Log(config.name)
        return Supervisor(directory, config, taken, log).run()
    except EtlError as error:
        log.error(str(error))
        return error.exit_code


class Supervisor:
    """One pipeline's service."""

    def __init__(self, directory: Path, config: Config, taken: TakenConfig, log: Log) -> None:
        self._directory = directory
        self._config = config
        self._log = log
        self._notifier = Notifier()
        self._taken = taken
        self._is_refused = False
        self._timers = Timers()
        self._reconnect_s = 1.0
        self._selector = selectors.DefaultSelector()
        self._link = Link(config, self._selector, self._on_ledger)
        self._alarm = Alarm(directory, config, taken, log)
        self._attempts = Attempts(
            directory, config, taken, self._selector, self._timers, self._on_report, self._ended, self._works_in_sink
        )
        self._clock = Clock(config, self._timers, self._link, log, self._alarm, self._offer_slot)
        self._outlook = Outlook(config, self._clock.schedule, log)
        self._failing: bool | None = None
        self._unrecorded = Unrecorded()
        self._queue = Queue(config.overlap)
        self._retries: list[Work] = []
        self._cancels: list[int] = []
        self._stopping = False
        self._secrets = secrets_in(config)
        log.configure(config.logging)

    def run(self) -> int:
        """The loop."""
        self._hear_signals()
        self._taken.took()
        self._outlook.take(self._config, self._clock.schedule)
        self._notifier.ready(self._idle_status())
        self._log.info(f"serving {self._config.name}: {self._idle_status()}")
        self._reconnect()
        while not (self._stopping and not self._attempts.are_active):
            self._reap()
            self._timers.run_due()
            self._look_at_ledger()
            self._start_what_waits()
            if not (self._stopping and not self._attempts.are_active):
                self._wait()
        self._alarm.wait(_MARGIN_S)
        self._outlook.close()
        self._link.close()
        self._log.info("stopped")
        return 0

    # signals

    def _hear_signals(self) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        self._selector.register(ours, selectors.EVENT_READ, partial(self._on_signals, ours))
        self._wakeup = theirs
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def _on_signals(self, ours: socket.socket) -> None:
        for number in ours.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP:
                self._reload()

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._notifier.stopping("stopping: what commits within stop_grace is kept")
        self._attempts.stop()

    def _reload(self) -> None:
        """Read config.yaml again; a wrong one is told loudly, and the old one holds."""
        self._notifier.reloading()
        try:
            config = self._taken.read()
        except EtlError as error:
            self._log.error(f"config.yaml was not taken over, the old one holds: {error}")
            self._taken.refused(str(error))
            self._is_refused = True
            self._notifier.ready(self._idle_status())
            return
        self._is_refused = False
        self._config = self._alarm.config = self._attempts.config = config
        self._secrets = secrets_in(config)
        self._queue.overlap = config.overlap
        self._link.close()
        self._link = Link(config, self._selector, self._on_ledger)
        self._log.configure(config.logging)
        self._clock.take(config, self._link)
        self._outlook.take(config, self._clock.schedule)
        self._reconnect()
        self._clock.wait(dt.datetime.now(dt.UTC))
        self._taken.took()
        self._log.info(f"config.yaml was read again: {self._idle_status()}")
        self._notifier.ready(self._idle_status())

    # sleeping

    def _wait(self) -> None:
        seconds = self._sleep_s()
        self._outlook.sleeps(seconds)
        for key, _ in self._selector.select(seconds):
            key.data()
        self._notifier.alive()

    def _sleep_s(self) -> float | None:
        longest = [self._timers.idle_s(), self._attempts.sleep_s]
        if self._notifier.watchdog_s is not None:
            longest.append(self._notifier.watchdog_s / 2)
        known = [seconds for seconds in longest if seconds is not None]
        return min(known) if known else None

    # the ledger

    def _reconnect(self) -> None:
        if self._stopping:
            return
        if not self._link.connect():
            self._lost_ledger()
            self._clock.wait(dt.datetime.now(dt.UTC))
            return
        self._timers.cancel("reconnect")
        self._reconnect_s = 1.0
        recorded = self._link.ask(lambda c: self._unrecorded.record(c, self._config.name))
        if recorded:
            self._log.info(f"what {recorded} runs came to is recorded now that the ledger is back")
        self._resume_what_was_interrupted()
        self._look_back()
        self._clock.catch_up()
        self._take_requests()
        self._prune()

    def _prune(self) -> None:
        """Once a day, and whenever the ledger is there again."""
        pruned = self._link.ask(lambda c: prune(c, self._config.name, self._config.history.keep))
        if pruned:
            self._log.info(f"{pruned} runs were older than history.keep and are removed from the ledger")
        self._timers.after(PRUNE_S, "prune", self._prune)

    def _look_at_ledger(self) -> None:
        """Hear what arrived beside an answer, which wakes nobody, and see that an answer did not come."""
        if self._link.is_up:
            self._on_ledger()
        elif not self._stopping and not self._timers.has("reconnect"):
            self._lost_ledger()

    def _on_ledger(self) -> None:
        if self._link.heard():
            self._take_requests()
        if not self._link.is_up:
            self._lost_ledger()

    def _lost_ledger(self) -> None:
        self._outlook.lost_ledger()
        self._log.warning(f"{self._redacted(self._link.error)}; next try in {self._reconnect_s:.0f} s")
        self._timers.after(self._reconnect_s, "reconnect", self._reconnect)
        self._reconnect_s = min(2 * self._reconnect_s, RECONNECT_S)

    def _look_back(self) -> None:
        self._link.ask(lambda c: self._outlook.look_back(c, self._config))
        if self._failing is None and self._link.is_up:
            self._failing = self._outlook.last_run_failed

    def _take_requests(self) -> None:
        while request := self._link.ask(lambda c: take_request(c, self._config.name, busy=self._is_busy)):
            self._take(request)

    @property
    def _is_busy(self) -> bool:
        return bool(self._attempts.are_active or self._retries or self._queue.waiting)

    def _take(self, request: OpenRequest) -> None:
        if request.verb == "cancel":
            self._cancel(request)
            return
        if request.verb != "run":
            self._record(Ending(f"this service does not know {request.verb}", request_id=request.request_id))
            return
        self._log.info(f"{request.requested_by} asks for a run")
        work = work_of_request(request.request_id, request.arguments, request.requested_by)
        self._queue.offer(work, busy=self._attempts.are_active)

    def _cancel(self, request: OpenRequest) -> None:
        """End what runs, and forget what waits; answered when the last of it has ended."""
        self._log.warning(f"{request.requested_by} cancels what runs and what waits")
        for work in [*self._retries, *self._queue.waiting]:
            self._timers.cancel(f"retry {work.name}")
            self._finish(work, "cancelled")
        self._retries.clear()
        self._queue.waiting.clear()
        self._attempts.cancel(request.requested_by)
        self._cancels.append(request.request_id)
        self._answer_cancels()

    def _answer_cancels(self) -> None:
        if not self._attempts.are_active:
            for request_id in self._cancels:
                self._record(Ending("cancelled", request_id=request_id))
            self._cancels.clear()

    def _resume_what_was_interrupted(self) -> None:
        """What this service had taken before it ended, else the newest run, where it was a whole one.

        The newest run may be of another host that is gone, or of a command.
        """
        if self._is_busy or self._stopping:
            return
        if self._link.ask(self._own_run_is_active):
            self._timers.after(LINGER_LOOK_S, "resume", self._resume_what_was_interrupted)
            return
        unfinished = self._link.ask(lambda c: unfinished_work(c, self._config.name, self._clock.schedule))
        for work in unfinished or []:
            how = "goes on" if work.request.resume else "begins now"
            self._log.info(f"{self._named(work)} was taken before the service ended: it {how}")
            self._queue.waiting.append(work)
        if not unfinished and self._link.ask(self._was_interrupted):
            self._log.info("a run was interrupted: it is resumed")
            self._queue.waiting.append(Work("resumption", Request("resumption", resume=True)))

    def _own_run_is_active(self, connection: SinkConnection) -> bool:
        """Whether the ledger shows a run of this host at work, though no child is.

        A killed one's session may be in the middle of a statement yet; or somebody runs it by hand.
        """
        rescue(connection, self._config.name)
        return any(run.host == socket.gethostname() for run in running(connection, self._config.name))

    def _was_interrupted(self, connection: SinkConnection) -> bool:
        last = Ledger(connection).last_run(self._config.name)
        return bool(
            last
            and last.state == "interrupted"
            and not last.partial
            and last.age_s < self._config.resume_within
            and last.barren <= self._config.max_resumptions
            and not running(connection, self._config.name)
        )

    def _record(self, ending: Ending) -> None:
        """Write into the ledger how something ended, now or when it is back."""

        def writing(connection: SinkConnection) -> bool:
            ending.record(connection, self._config.name)
            return True

        if not self._link.ask(writing):
            self._unrecorded.keep(ending)

    # slots

    def _offer_slot(self, slot: Slot) -> None:
        work = work_of_slot(slot)
        at_work = self._attempts.at_work
        for child, other in at_work:
            report = child.last or Report("starting")
            self._log.warning(
                f"{self._named(other)} overstays into {self._named(work)}: {report.status}", report.run_id
            )
        self._forget_retries(slot)
        if not self._queue.offer(work, busy=bool(at_work)):
            self._log.warning(f"{self._named(work)} is skipped: a run is active (overlap: {self._config.overlap})")
            self._record(Ending("skipped", slot.due.isoformat(), slot.entry))

    def _forget_retries(self, slot: Slot) -> None:
        """A new slot takes the place of what an older one of its entry would have tried again."""
        for work in [work for work in self._retries if work.slot is not None and work.entry == slot.entry]:
            self._retries.remove(work)
            self._timers.cancel(f"retry {work.name}")
            self._log.warning(f"{self._named(work)} is not tried again: the next slot has come")
            self._finish(work, "failed")

    # attempts

    def _start_what_waits(self) -> None:
        while not self._stopping and (work := self._queue.next(busy=self._attempts.are_active)):
            child = self._attempts.start(work)
            tries = f", try {work.failures + 1}" if work.failures else ""
            self._log.info(f"{self._named(work)}: started{tries} (pid {child.pid})")

    def _on_report(self, work: Work, report: Report) -> None:
        if report.said:
            self._log.of_level(report.level, self._redacted(report.said), report.run_id, report.table, report.shard)
        self._notifier.status(report.status)
        self._outlook.heard(work.name, report)

    def _reap(self) -> None:
        self._alarm.reap()
        self._attempts.reap()
        if not self._attempts.are_active and not self._stopping:
            self._notifier.status(self._idle_status())

    def _works_in_sink(self) -> bool:
        """Whether the sink shows a statement of a run as active: an index build, a long merge."""
        pattern = f"etl-cli {self._config.name} run %"

        def question(connection: SinkConnection) -> bool:
            row = connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
                " AND application_name LIKE %s AND wait_event_type IS DISTINCT FROM 'Client'",
                [pattern],
            ).fetchone()
            return row is not None

        return bool(self._link.ask(question))

    def _ended(self, child: Child, work: Work, code: int) -> None:
        report = child.last or Report("ended")
        self._outlook.ended(report, succeeded=code == 0, error=self._redacted(report.error))
        if code == 0:
            told = f"run {report.run_id} succeeded, {report.rows:,} rows in {report.seconds or 0:.1f} s"
            self._log.info(f"{self._named(work)}: {told}", report.run_id)
            if self._failing:
                self._alarm.raise_("recovery", told, run_id=report.run_id)
            self._failing = False
            self._finish(work, "succeeded")
        elif child.cancelled_by is not None:
            self._log.warning(f"{self._named(work)}: cancelled by {child.cancelled_by}", report.run_id)
            self._finish(work, "cancelled", child, f"cancelled by {child.cancelled_by}")
            self._link.ask(self._remove_what_was_cancelled)
        elif self._stopping:
            self._log.info(f"{self._named(work)}: interrupted; it is resumed when the service starts again")
        else:
            told = child.killed_for or self._redacted(report.error) or _how(code)
            self._failed(child, work, told, code)
        self._answer_cancels()
        self._look_back()

    def _remove_what_was_cancelled(self, connection: SinkConnection) -> None:
        """What a killed attempt left beside its targets; one that ended by itself has removed it."""
        rescue(connection, self._config.name)
        drop_leftovers(connection, self._config.name, [], [], 0)

    def _failed(self, child: Child, work: Work, told: str, code: int) -> None:
        run_id = child.last.run_id if child.last else None
        now = dt.datetime.now(dt.UTC)
        failed = work.failed(now)
        delay = next_try(
            self._config.error_handling,
            failures=failed.failures,
            first_failure=failed.first_failure or now,
            now=now,
            permanent=is_permanent(code),
        )
        if delay is not None:
            self._log.error(f"{self._named(work)}: failed: {told}; try {failed.failures + 1} in {delay:.0f} s", run_id)
            self._retries.append(failed)
            self._timers.after(delay, f"retry {work.name}", partial(self._try_again, failed))
            return
        self._log.error(f"{self._named(work)}: failed, and is not tried again before the next slot: {told}", run_id)
        self._failing = True
        self._finish(failed, "failed", child, told)
        tasks = child.last.failed if child.last else ()
        name = self._config.name
        to_do = f"manage-pipeline logs {name} --level error; when it is put right, manage-pipeline run {name}"
        self._alarm.raise_("failure", told, run_id=run_id, tasks=tasks, to_do=to_do)

    def _try_again(self, work: Work) -> None:
        self._retries.remove(work)
        self._queue.waiting.appendleft(work)

    def _finish(self, work: Work, outcome: str, child: Child | None = None, told: str | None = None) -> None:
        """Record how a slot, a request and the run itself ended."""
        run_id = child.last.run_id if child is not None and child.last else None
        due = work.slot.isoformat() if work.slot is not None else None
        pid = child.pid if child is not None else None
        if due is not None or work.request_id is not None or run_id is not None:
            self._record(Ending(outcome, due, work.entry, work.request_id, run_id, pid, told))

    # words

    def _idle_status(self) -> str:
        upcoming = self._clock.schedule.next_slot(dt.datetime.now(dt.UTC))
        next_run = f"next run {self._clock.local(upcoming.due)}" if upcoming else "no schedule: runs on request"
        told = [
            "config.yaml is wrong, the old one holds" if self._is_refused else "",
            "the sink is away" if self._link.is_lost else "",
            "the last run failed" if self._failing else "",
            next_run,
        ]
        return "; ".join(filter(None, told))

    def _named(self, work: Work) -> str:
        return f"slot {self._clock.local(work.slot)}" if work.slot is not None else work.cause

    def _redacted(self, error: object) -> str:
        return redact(str(error), self._secrets) if error else ""


def _how(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
