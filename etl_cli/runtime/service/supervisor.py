"""The supervisor: it sleeps until something is due, runs attempts in children, and outlives them all.

It imports no driver and no Arrow, so that it stays small, and never the pipeline's own code.
"""

from __future__ import annotations

import datetime as dt
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from etl_cli.runtime.config import Config, load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.heartbeat import running
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.rescue import rescue
from etl_cli.runtime.ledger.slots import OpenRequest, answer_request, claim_slot, end_slot, last_slot, take_request
from etl_cli.runtime.redact import redact, secrets_in
from etl_cli.runtime.request import Request
from etl_cli.runtime.retry import next_try
from etl_cli.runtime.schedule import Schedule, Slot
from etl_cli.runtime.service.child import Child
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.notify import Notifier
from etl_cli.runtime.service.reports import Report
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.timers import Timers, use_utc
from etl_cli.runtime.service.work import Queue, Work
from etl_cli.runtime.sink.connect import SinkConnection

RECONNECT_S = 15.0
"""How long after the sink was found away it is tried again."""

STALL_LOOK_S = 30.0
_MARGIN_S = 5.0


def serve(directory: Path) -> int:
    """Serve the pipeline in `directory` until a signal ends it; the exit code."""
    use_utc()
    log = Log(directory.name)
    try:
        config = load_config(directory)
    except EtlError as error:
        log.error(str(error))
        return error.exit_code
    return Supervisor(directory, config, log).run()


class Supervisor:
    """One pipeline's service."""

    def __init__(self, directory: Path, config: Config, log: Log) -> None:
        self._directory = directory
        self._config = config
        self._log = log
        self._schedule = Schedule.of(config)
        self._notifier = Notifier()
        self._taken = TakenConfig(directory)
        self._timers = Timers()
        self._link = Link(config)
        self._queue = Queue(config.overlap)
        self._children: dict[Child, Work] = {}
        self._selector = selectors.DefaultSelector()
        self._linked: int | None = None
        self._began = dt.datetime.now(dt.UTC)
        self._stopping = False
        self._stop_by: float | None = None
        self._secrets = secrets_in(config)

    def run(self) -> int:
        """The loop."""
        self._hear_signals()
        self._taken.took()
        self._notifier.ready(self._idle_status())
        self._log.info(f"serving {self._config.name}: {self._idle_status()}")
        self._reconnect()
        while not (self._stopping and not self._children):
            self._timers.run_due()
            self._reap()
            self._start_what_waits()
            if not (self._stopping and not self._children):
                self._wait()
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
        self._stop_by = time.monotonic() + self._config.stop_grace + _MARGIN_S
        self._notifier.stopping("stopping: what commits within stop_grace is kept")
        for child in self._children:
            child.stop()

    def _reload(self) -> None:
        """Read config.yaml again; a wrong one is told loudly, and the old one holds."""
        self._notifier.reloading()
        try:
            config = load_config(self._directory)
        except EtlError as error:
            self._log.error(f"config.yaml was not taken over, the old one holds: {error}")
            self._taken.refused(str(error))
            self._notifier.ready(f"config.yaml is wrong, the old one holds: {self._idle_status()}")
            return
        self._config, self._schedule = config, Schedule.of(config)
        self._secrets = secrets_in(config)
        self._queue.overlap = config.overlap
        self._link.close()
        self._link = Link(config)
        self._reconnect()
        self._taken.took()
        self._log.info(f"config.yaml was read again: {self._idle_status()}")
        self._notifier.ready(self._idle_status())

    # sleeping

    def _wait(self) -> None:
        self._watch_link()
        for key, _ in self._selector.select(self._sleep_s()):
            key.data()
        self._notifier.alive()

    def _sleep_s(self) -> float | None:
        longest = [self._timers.idle_s()]
        if self._notifier.watchdog_s is not None:
            longest.append(self._notifier.watchdog_s / 2)
        if self._children:
            longest.append(STALL_LOOK_S)
        if self._stop_by is not None:
            longest.append(max(0.1, self._stop_by - time.monotonic()))
        known = [seconds for seconds in longest if seconds is not None]
        return min(known) if known else None

    def _watch_link(self) -> None:
        descriptor = self._link.fileno()
        if descriptor == self._linked:
            return
        if self._linked is not None:
            self._selector.unregister(self._linked)
        if descriptor is not None:
            self._selector.register(descriptor, selectors.EVENT_READ, self._on_ledger)
        self._linked = descriptor

    # the ledger

    def _reconnect(self) -> None:
        if self._stopping:
            return
        if not self._link.connect():
            self._log.warning(f"{self._redacted(self._link.error)}; next try in {RECONNECT_S:.0f} s")
            self._timers.after(RECONNECT_S, "reconnect", self._reconnect)
            return
        self._timers.cancel("reconnect")
        self._resume_what_was_interrupted()
        self._catch_up()
        self._take_requests()

    def _on_ledger(self) -> None:
        if self._link.heard():
            self._take_requests()
        if not self._link.is_up:
            self._watch_link()
            self._log.warning(f"{self._redacted(self._link.error)}; next try in {RECONNECT_S:.0f} s")
            self._timers.after(RECONNECT_S, "reconnect", self._reconnect)

    def _take_requests(self) -> None:
        while request := self._link.ask(lambda c: take_request(c, self._config.name)):
            self._take(request)

    def _take(self, request: OpenRequest) -> None:
        if request.verb != "run":
            self._answer(request.request_id, f"this service does not know {request.verb}")
            return
        keys = {key: request.arguments[key] for key in ("resume", "tables", "shards", "full", "where")
                if key in request.arguments}  # fmt: skip
        asked = Request(requested_by=request.requested_by, **keys)
        self._log.info(f"{request.requested_by} asks for a run")
        self._queue.offer(Work("request", asked, request_id=request.request_id), busy=bool(self._children))

    def _answer(self, request_id: int, answer: str) -> None:
        self._link.ask(lambda c: answer_request(c, request_id, answer))

    def _resume_what_was_interrupted(self) -> None:
        """Of this host or another that is gone: the newest run, where it was a whole one."""
        if self._children or self._queue.waiting:
            return

        def question(connection: SinkConnection) -> bool:
            rescue(connection, self._config.name)
            last = Ledger(connection).last_run(self._config.name)
            return bool(
                last
                and last.state == "interrupted"
                and not last.partial
                and last.age_s < self._config.resume_within
                and not running(connection, self._config.name)
            )

        if self._link.ask(question):
            self._log.info("a run was interrupted: it is resumed")
            self._queue.offer(Work("resumption", Request("resumption", resume=True)), busy=False)

    # slots

    def _catch_up(self) -> None:
        """Take the slots that were due while nobody looked, as `catchup` says, and wait for the next one."""
        if not self._link.is_up:
            return
        now = dt.datetime.now(dt.UTC)
        last = self._link.ask(lambda c: last_slot(c, self._config.name)) or self._began
        for slot in self._schedule.due_slots(last, now, self._config.catchup):
            self._claim(slot)
        self._wait_for_the_next_slot(now)

    def _wait_for_the_next_slot(self, after: dt.datetime | Slot) -> None:
        slot = self._schedule.next_slot(after)
        if slot is None:
            self._timers.cancel("slot")
            return
        self._timers.at(self._schedule.begins_at(slot), "slot", partial(self._on_slot, slot))

    def _on_slot(self, slot: Slot) -> None:
        if not self._link.is_up:
            self._log.warning(f"the slot {slot.due:%Y-%m-%d %H:%M:%S %Z} waits: there is no ledger to record it in")
            return  # _catch_up decides when the ledger is back
        self._claim(slot)
        self._wait_for_the_next_slot(slot)

    def _claim(self, slot: Slot) -> None:
        name = self._config.name
        if not self._link.ask(lambda c: claim_slot(c, name, slot.due, slot.entry)):
            return
        request = Request("slot", tables=tuple(slot.tables or ()), full=slot.full)
        work = Work("slot", request, slot=slot.due, entry=slot.entry)
        if not self._queue.offer(work, busy=bool(self._children)):
            self._log.warning(f"{work.name} is skipped: a run is active (overlap: {self._config.overlap})")
            self._link.ask(lambda c: end_slot(c, name, slot.due, slot.entry, "skipped"))

    # children

    def _start_what_waits(self) -> None:
        while not self._stopping and (work := self._queue.next(busy=bool(self._children))):
            self._start(work)

    def _start(self, work: Work) -> None:
        child = Child(self._directory, work.as_json())
        self._children[child] = work
        self._selector.register(child.pipe, selectors.EVENT_READ, partial(self._on_report, child))
        tries = f", try {work.failures + 1}" if work.failures else ""
        self._log.info(f"{work.name}: started{tries} (pid {child.pid})")
        if self._config.run_timeout is not None:
            timeout = partial(self._time_out, child)
            self._timers.after(self._config.run_timeout, f"timeout {child.pid}", timeout)

    def _on_report(self, child: Child) -> None:
        for report in child.reports():
            if report.said:
                self._log.warning(report.said, run_id=report.run_id)
            self._notifier.status(report.status)

    def _time_out(self, child: Child) -> None:
        child.kill(f"it took longer than run_timeout ({self._config.run_timeout:.0f} s)")

    def _reap(self) -> None:
        for child, work in list(self._children.items()):
            code = child.ended()
            if code is None:
                self._look_after(child)
                continue
            self._on_report(child)
            self._selector.unregister(child.pipe)
            child.close()
            del self._children[child]
            self._timers.cancel(f"timeout {child.pid}")
            self._ended(child, work, code)
        if not self._children and not self._stopping:
            self._notifier.status(self._idle_status())

    def _look_after(self, child: Child) -> None:
        """End a child that has been silent for too long, or that does not stop."""
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            child.kill("it did not stop within stop_grace")
        silent_s = time.monotonic() - child.heard_at
        if silent_s > self._config.stall_timeout and not self._is_at_work_in_sink(child):
            child.kill(f"it was silent for {silent_s:.0f} s (stall_timeout)")

    def _is_at_work_in_sink(self, child: Child) -> bool:
        """A statement that the sink shows as active is not silence: an index build, a long merge."""
        pattern = f"etl-cli {self._config.name} run %"

        def question(connection: SinkConnection) -> bool:
            row = connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
                " AND application_name LIKE %s AND wait_event_type IS DISTINCT FROM 'Client'",
                [pattern],
            ).fetchone()
            return row is not None

        if self._link.ask(question):
            child.heard_at = time.monotonic()
            return True
        return False

    def _ended(self, child: Child, work: Work, code: int) -> None:
        report = child.last or Report("ended")
        if code == 0:
            self._log.info(f"{work.name}: run {report.run_id} succeeded, {report.rows:,} rows", run_id=report.run_id)
            self._finish(work, "succeeded")
        elif self._stopping:
            self._log.info(f"{work.name}: interrupted; it is resumed when the service starts again")
        else:
            told = child.killed_for or self._redacted(report.error) or _how(code)
            self._failed(work, told, code)

    def _failed(self, work: Work, told: str, code: int) -> None:
        now = dt.datetime.now(dt.UTC)
        failed = work.failed(now)
        delay = next_try(
            self._config.error_handling,
            failures=failed.failures,
            first_failure=failed.first_failure or now,
            now=now,
            permanent=code == 2,
        )
        if delay is None:
            self._log.error(f"{work.name}: failed, and is not tried again before the next slot: {told}")
            self._finish(failed, "failed")
            return
        self._log.error(f"{work.name}: failed: {told}; try {failed.failures + 1} in {delay:.0f} s")
        again: Callable[[], None] = partial(self._queue.waiting.appendleft, failed)
        self._timers.after(delay, f"retry {work.name}", again)

    def _finish(self, work: Work, outcome: str) -> None:
        if work.slot is not None:
            due = work.slot
            self._link.ask(lambda c: end_slot(c, self._config.name, due, work.entry, outcome))
        if work.request_id is not None:
            self._answer(work.request_id, outcome)

    # words

    def _idle_status(self) -> str:
        upcoming = self._schedule.next_slot(dt.datetime.now(dt.UTC))
        return f"next run {upcoming.due:%Y-%m-%d %H:%M:%S %Z}" if upcoming else "no schedule: runs on request"

    def _redacted(self, error: object) -> str:
        return redact(str(error), self._secrets) if error else ""


def _how(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
