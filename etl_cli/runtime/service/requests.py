"""What is asked of the service through the ledger: runs, which join the queue, and cancels."""

from __future__ import annotations

from collections.abc import Callable

from etl_cli.runtime.ledger.requests import OpenRequest, take_request, unknown
from etl_cli.runtime.ledger.slots import slots_claimed_since
from etl_cli.runtime.service.attempts import Attempts
from etl_cli.runtime.service.endings import Endings
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.retries import Retries
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.unfinished import work_of_request
from etl_cli.runtime.service.work import Queue, Work


class Requests:
    """Takes requests of the pipeline from the ledger; a cancel only while the service `is_busy`."""

    def __init__(
        self,
        taken: TakenConfig,
        link: Link,
        log: Log,
        queue: Queue,
        retries: Retries,
        attempts: Attempts,
        endings: Endings,
        is_busy: Callable[[], bool],
    ) -> None:
        self._taken = taken
        self._link = link
        self._log = log
        self._queue = queue
        self._retries = retries
        self._attempts = attempts
        self._endings = endings
        self._is_busy = is_busy
        self._cancels: list[int] = []

    def take(self) -> None:
        """Take all that are open."""
        name = self._taken.config.name
        while request := self._link.ask(lambda c: take_request(c, name, busy=self._is_busy())):
            if request.verb == "cancel":
                self._cancel(request)
            elif request.verb == "run":
                self._queue_run(request)
            else:
                self._endings.answer(request.request_id, unknown(request.verb))

    def answer_cancels(self) -> None:
        """Tell whoever has cancelled, once the last of what was cancelled has ended."""
        if not self._attempts.are_cancelled:
            for request_id in self._cancels:
                self._endings.answer(request_id, "cancelled")
            self._cancels.clear()

    def _queue_run(self, request: OpenRequest) -> None:
        self._log.info(f"{request.requested_by} asks for a run")
        work = work_of_request(request.request_id, request.arguments, request.requested_by)
        self._queue.offer(work, busy=self._attempts.are_active)

    def _cancel(self, request: OpenRequest) -> None:
        """End what runs, and forget what waits, as far as it was there when the cancel was asked for.

        Else one that was left over, by a caller that was killed or whose run had just ended, would end another run.
        """
        name = self._taken.config.name
        newer_slots = self._link.ask(lambda c: slots_claimed_since(c, name, request.requested_at)) or set()

        def is_meant(work: Work) -> bool:
            if work.request_id is not None:
                return work.request_id < request.request_id
            return (work.slot, work.entry) not in newer_slots

        forgotten = [*self._retries.forget(is_meant), *self._queue.forget(is_meant)]
        for work in forgotten:
            self._endings.finish(work, "cancelled")
        if not self._attempts.cancel(is_meant, request.requested_by) and not forgotten:
            self._log.info(f"{request.requested_by} cancels nothing: what ran when it was asked for has ended")
            self._endings.answer(request.request_id, "ended before it was cancelled")
            return
        self._log.warning(f"{request.requested_by} cancels what runs and what waits")
        self._cancels.append(request.request_id)
        self.answer_cancels()
