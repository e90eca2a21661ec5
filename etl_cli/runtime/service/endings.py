"""Records how work ended: in the ledger, or on this host until the ledger is there again."""

from __future__ import annotations

from etl_cli.runtime.service.child import Child
from etl_cli.runtime.service.link import Link
from etl_cli.runtime.service.taken import TakenConfig
from etl_cli.runtime.service.unrecorded import Ending, Unrecorded
from etl_cli.runtime.service.work import Work
from etl_cli.runtime.sink.connect import SinkConnection


class Endings:
    """Of one service."""

    def __init__(self, taken: TakenConfig, link: Link) -> None:
        self._taken = taken
        self._link = link
        self._unrecorded = Unrecorded()

    def finish(self, work: Work, outcome: str, child: Child | None = None, error: str | None = None) -> None:
        """Record how a slot, a request and the run itself ended."""
        run_id = child.last.run_id if child is not None and child.last else None
        due = work.slot.isoformat() if work.slot is not None else None
        pid = child.pid if child is not None else None
        if due is not None or work.request_id is not None or run_id is not None:
            self.record(Ending(outcome, due, work.entry, work.request_id, run_id, pid, error))

    def answer(self, request_id: int, answer: str) -> None:
        """Record how a request ended that is no work."""
        self.record(Ending(answer, request_id=request_id))

    def record(self, ending: Ending) -> None:
        """Write it into the ledger, now or when it is back."""

        def writing(connection: SinkConnection) -> bool:
            ending.record(connection, self._taken.config.name)
            return True

        if not self._link.ask(writing):
            self._unrecorded.keep(ending)

    def record_kept(self) -> int:
        """Write what the ledger could not take before; how many."""
        return self._link.ask(lambda c: self._unrecorded.record(c, self._taken.config.name)) or 0
