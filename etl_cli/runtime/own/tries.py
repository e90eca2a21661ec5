"""When a member of an own source, or what belongs to its step, is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from etl_cli.runtime.errors import EtlError, SinkError, SourceError
from etl_cli.runtime.events import Failed
from etl_cli.runtime.ledger.chunks import ChunkTakenError, committed, is_transient
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.program.sources import Retries
from etl_cli.runtime.sink.connect import SinkConnection, translate

T = TypeVar("T")


@dataclass
class _Count:
    """Of one member: tries in a row that have recorded nothing."""

    failures: int = 0
    chunks: int = 0


class Tries:
    """Of one step; `stopped` ends what waits."""

    def __init__(self, retries: Retries, stopped: threading.Event, tell: Callable[[str], None]) -> None:
        self._retries = retries
        self._stopped = stopped
        self._tell = tell
        self._counts: dict[TaskId, _Count] = {}

    def delay(self, connection: SinkConnection, event: Failed) -> float | None:
        """Seconds until another try; None where none would help, or enough in a row have recorded nothing."""
        error = event.error
        if not isinstance(error, SourceError | SinkError) or not _may_pass(error):
            return None
        count = self._counts.setdefault(event.job.task, _Count())
        chunks = committed(connection, event.job.task, event.job.stream).chunks
        if chunks > count.chunks or isinstance(error, ChunkTakenError):
            count.failures, count.chunks = 0, chunks
        count.failures += 1
        return self._retries.delay_after(count.failures)

    def patiently(self, work: Callable[[], T], doing: str) -> T | None:
        """What `work` gives, tried again where it failed for what may pass; None where it was stopped meanwhile."""
        failures = 0
        while not self._stopped.is_set():
            try:
                return work()
            except (SourceError, SinkError, psycopg.Error) as error:
                told = translate(error, doing) if isinstance(error, psycopg.Error) else error
                failures += 1
                delay = self._retries.delay_after(failures)
                if delay is None or not _may_pass(told):
                    raise told from error
                self._tell(f"{told}; another try in {delay:.1f} s")
                self._stopped.wait(delay)
        return None


def _may_pass(error: EtlError) -> bool:
    """Whether another try may do; an error of the user's own function may always pass."""
    return is_transient(error) if isinstance(error, SinkError) else True
