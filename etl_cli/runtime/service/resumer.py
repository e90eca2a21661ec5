"""Goes on with what was interrupted, when the service starts and when the ledger is there again."""

from __future__ import annotations

import socket
from collections.abc import Callable

from etl_cli.runtime.ledger.heartbeat import running
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.rescue import rescue
from etl_cli.runtime.ledger.services import is_only_service
from etl_cli.runtime.request import Request
from etl_cli.runtime.service.clock import Clock
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.timers import Timers
from etl_cli.runtime.service.unfinished import unfinished_work
from etl_cli.runtime.service.work import Queue, Work
from etl_cli.runtime.sink.connect import SinkConnection

LINGER_LOOK_S = 10.0


class Resumer:
    """Of one service; it resumes nothing unless the service `is_free`: it does not stop, and has nothing to do."""

    def __init__(
        self,
        taken: TakenConfig,
        link: Link,
        log: Log,
        clock: Clock,
        timers: Timers,
        queue: Queue,
        is_free: Callable[[], bool],
    ) -> None:
        self._taken = taken
        self._link = link
        self._log = log
        self._clock = clock
        self._timers = timers
        self._queue = queue
        self._is_free = is_free
        self._is_second = False

    def resume(self) -> None:
        """Queue what this service had taken before it ended, else the newest run, where it was a whole one.

        The newest run may be of another host that is gone, or of a command.
        """
        if not self._is_free():
            return
        if self._link.ask(lambda c: is_only_service(c, self._taken.config.name)) is False:
            if not self._is_second:
                self._log.warning("another service of this pipeline is up on this host: stop one of them")
            self._is_second = True
            self._timers.after(LINGER_LOOK_S, "resume", self.resume)
            return
        self._is_second = False
        if self._link.ask(self._own_run_is_active):
            self._timers.after(LINGER_LOOK_S, "resume", self.resume)
            return
        unfinished = self._link.ask(lambda c: unfinished_work(c, self._taken.config.name, self._clock.schedule))
        for work in unfinished or []:
            how = "goes on" if work.request.resume else "begins now"
            self._log.info(f"{self._clock.named(work)} was taken before the service ended: it {how}")
            self._queue.waiting.append(work)
        if not unfinished and self._link.ask(self._was_interrupted):
            self._log.info("a run was interrupted: it is resumed")
            self._queue.waiting.append(Work("resumption", Request("resumption", resume=True)))

    def _own_run_is_active(self, connection: SinkConnection) -> bool:
        """Whether the ledger shows a run of this host at work, though no child is.

        A killed one's session may be in the middle of a statement yet; or somebody runs it by hand.
        """
        name = self._taken.config.name
        rescue(connection, name)
        return any(run.host == socket.gethostname() for run in running(connection, name))

    def _was_interrupted(self, connection: SinkConnection) -> bool:
        config = self._taken.config
        last = Ledger(connection).last_run(config.name)
        return bool(
            last
            and last.state == "interrupted"
            and not last.partial
            and last.age_s < config.resume_within
            and last.barren <= config.max_resumptions
            and not running(connection, config.name)
        )
