"""The supervisor: it sleeps until something is due, runs attempts in children, and outlives them all.

It imports no driver and no Arrow, so that it stays small, and never the pipeline's own code. This is the loop, and
what happens in which order; what is done each time stands in the modules that it calls.
"""

from __future__ import annotations

import datetime as dt
import selectors
from pathlib import Path

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.heartbeat import works_in_sink
from etl_cli.runtime.ledger.retention import prune
from etl_cli.runtime.schedule import Schedule, Slot
from etl_cli.runtime.service.alarm import Alarm
from etl_cli.runtime.service.attempts import Attempts
from etl_cli.runtime.service.child import Child
from etl_cli.runtime.service.clock import Clock
from etl_cli.runtime.service.endings import Endings
from etl_cli.runtime.service.ledger_watch import LedgerWatch
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.notify import Notifier
from etl_cli.runtime.service.outcomes import Outcomes
from etl_cli.runtime.service.outlook import Outlook
from etl_cli.runtime.service.reports import Report
from etl_cli.runtime.service.requests import Requests
from etl_cli.runtime.service.resumer import Resumer
from etl_cli.runtime.service.retries import Retries
from etl_cli.runtime.service.signals import Signals
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.timers import Timers, use_utc
from etl_cli.runtime.service.unfinished import work_of_slot
from etl_cli.runtime.service.unrecorded import Ending
from etl_cli.runtime.service.work import Queue, Work

PRUNE_S = 86_400.0
_MARGIN_S = 5.0


def serve(directory: Path) -> int:
    """Serve the pipeline in `directory` until a signal ends it; the exit code."""
    use_utc()
    log = Log(directory.name)
    taken = TakenConfig(directory)
    try:
        log = Log(taken.read().name)
        return Supervisor(directory, taken, log).run()
    except EtlError as error:
        log.error(taken.redacted(error))
        return error.exit_code


class Supervisor:
    """One pipeline's service, by the configuration that `taken` has read."""

    def __init__(self, directory: Path, taken: TakenConfig, log: Log) -> None:
        config = taken.config
        self._taken = taken
        self._log = log
        self._is_refused = False
        self._stopping = False
        self._notifier = Notifier()
        self._timers = timers = Timers()
        self._selector = selector = selectors.DefaultSelector()
        self._queue = queue = Queue(config.overlap)
        self._retries = retries = Retries(timers, queue)
        self._watch = LedgerWatch(
            taken, selector, timers, log,
            on_news=self._take_requests, on_lost=self._lost_ledger, reconnect=self._reconnect,
        )  # fmt: skip
        self._link = link = self._watch.link
        self._endings = endings = Endings(taken, link)
        self._alarm = Alarm(directory, taken, log)
        self._outlook = Outlook(config, Schedule.of(config), log)
        self._clock = clock = Clock(config, timers, link, log, self._alarm, self._offer_slot, self._outlook.passed)
        self._attempts = Attempts(
            directory, taken, selector, timers, self._on_report, self._on_end, self._works_in_sink
        )
        self._outcomes = Outcomes(taken, link, log, clock, self._alarm, self._outlook, retries, endings)
        self._requests = Requests(taken, link, log, queue, retries, self._attempts, endings, self._is_busy)
        self._resumer = Resumer(taken, link, log, clock, timers, queue, self._is_free)
        self._signals = Signals(selector, self._stop, self._reload)
        log.configure(config.logging)

    def run(self) -> int:
        """The loop."""
        self._taken.took()
        self._outlook.take(self._taken.config, self._clock.schedule)
        self._notifier.ready(self._idle_status())
        self._log.info(f"serving {self._taken.config.name}: {self._idle_status()}")
        self._reconnect()
        while not self._is_done():
            self._reap()
            self._timers.run_due()
            self._watch.look(stopping=self._stopping)
            self._start_what_waits()
            if not self._is_done():
                self._wait()
        self._alarm.wait(_MARGIN_S)
        self._outlook.close()
        self._link.close()
        self._log.info("stopped")
        return 0

    def _is_done(self) -> bool:
        return self._stopping and not self._attempts.are_active

    def _is_busy(self) -> bool:
        return bool(self._attempts.are_active or self._retries.are_waiting or self._queue.waiting)

    def _is_free(self) -> bool:
        return not (self._stopping or self._is_busy())

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

    # signals

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
            told = self._taken.redacted(error)
            self._log.error(f"config.yaml was not taken over, the old one holds: {told}")
            self._taken.refused(told)
            self._is_refused = True
            self._notifier.ready(self._idle_status())
            return
        self._is_refused = False
        self._queue.overlap = config.overlap
        self._link.take(config)
        self._log.configure(config.logging)
        self._clock.take(config)
        self._outlook.take(config, self._clock.schedule)
        self._reconnect()
        self._clock.wait(dt.datetime.now(dt.UTC))
        self._taken.took()
        self._log.info(f"config.yaml was read again: {self._idle_status()}")
        self._notifier.ready(self._idle_status())

    # the ledger

    def _reconnect(self) -> None:
        if self._stopping:
            return
        if not self._watch.connect():
            self._clock.wait(dt.datetime.now(dt.UTC))
            return
        if recorded := self._endings.record_kept():
            self._log.info(f"what {recorded} runs came to is recorded now that the ledger is back")
        self._resumer.resume()
        self._outcomes.look_back()
        self._clock.catch_up()
        self._take_requests()
        self._prune()

    def _lost_ledger(self) -> None:
        self._outlook.lost_ledger()

    def _take_requests(self) -> None:
        self._requests.take()

    def _prune(self) -> None:
        """Once a day, and whenever the ledger is there again."""
        config = self._taken.config
        pruned = self._link.ask(lambda c: prune(c, config.name, config.history.keep))
        if pruned:
            self._log.info(f"{pruned} runs were older than history.keep and are removed from the ledger")
        self._timers.after(PRUNE_S, "prune", self._prune)

    # slots

    def _offer_slot(self, slot: Slot) -> None:
        work = work_of_slot(slot)
        named = self._clock.named(work)
        at_work = self._attempts.at_work
        for child, other in at_work:
            report = child.last or Report("starting")
            overstays = f"{self._clock.named(other)} overstays into {named}: {report.status}"
            self._log.warning(overstays, report.run_id)
        self._forget_retries(slot)
        if not self._queue.offer(work, busy=bool(at_work)):
            self._log.warning(f"{named} is skipped: a run is active (overlap: {self._queue.overlap})")
            self._endings.record(Ending("skipped", slot.due.isoformat(), slot.entry))

    def _forget_retries(self, slot: Slot) -> None:
        """A new slot takes the place of what an older one of its entry would have tried again."""
        for work in self._retries.forget(lambda work: work.slot is not None and work.entry == slot.entry):
            self._log.warning(f"{self._clock.named(work)} is not tried again: the next slot has come")
            self._endings.finish(work, "failed")

    # attempts

    def _start_what_waits(self) -> None:
        while not self._stopping and (work := self._queue.next(busy=self._attempts.are_active)):
            child = self._attempts.start(work)
            tries = f", try {work.failures + 1}" if work.failures else ""
            self._log.info(f"{self._clock.named(work)}: started{tries} (pid {child.pid})")

    def _on_report(self, work: Work, report: Report) -> None:
        if report.said:
            said = self._taken.redacted(report.said)
            self._log.of_level(report.level, said, report.run_id, report.table, report.shard)
        self._notifier.status(report.status)
        self._outlook.heard(work.name, report)

    def _on_end(self, child: Child, work: Work, code: int) -> None:
        self._outcomes.ended(child, work, code, stopping=self._stopping)
        self._requests.answer_cancels()

    def _reap(self) -> None:
        self._alarm.reap()
        self._attempts.reap()
        if not self._attempts.are_active and not self._stopping:
            self._notifier.status(self._idle_status())

    def _works_in_sink(self) -> bool:
        return bool(self._link.ask(lambda c: works_in_sink(c, self._taken.config.name)))

    def _idle_status(self) -> str:
        upcoming = self._clock.schedule.next_slot(dt.datetime.now(dt.UTC))
        next_run = f"next run {self._clock.local(upcoming.due)}" if upcoming else "no schedule: runs on request"
        told = [
            "config.yaml is wrong, the old one holds" if self._is_refused else "",
            "the sink is away" if self._link.is_lost else "",
            "the last run failed" if self._outcomes.is_failing else "",
            next_run,
        ]
        return "; ".join(filter(None, told))
