"""A part of a task as it is handed to a worker, and what comes back.

Imports no Arrow: the run's own process needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.ledger.watermarks import WatermarkId
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.sink.connect import Sink
from etl_cli.runtime.sink.destination import Destination
from etl_cli.runtime.source.connect import Shard
from etl_cli.runtime.window import ALL_ROWS, Window

if TYPE_CHECKING:
    from etl_cli.runtime.kept import Connections

SNAPSHOT = "snapshot"
READ_COMMITTED = "read committed"


class CancelledError(EtlError):
    """The run was asked to stop."""


@dataclass(frozen=True)
class WatermarkMove:
    """The watermark that each chunk moves, and the position where it stood when the run began."""

    id: WatermarkId
    cursor: str
    scope: str
    before: tuple[str, ...] | None


class Work(Protocol):
    """What a worker is given: a stream of a table, or a member of an own source."""

    @property
    def task(self) -> TaskId:
        """Whose work it is."""

    @property
    def stream(self) -> int:
        """Its number within the task."""

    def work(self, watcher: Watcher, connections: Connections) -> Result:
        """Do it, in a worker. Raises EtlError."""


@dataclass(frozen=True)
class Job:
    """All that a stream needs, in a form that travels to another process."""

    task: TaskId
    shard: Shard
    sink: Sink
    plan: TablePlan
    destination: Destination
    isolation: str
    application: str
    """How its session in the sink is named."""
    pipeline: str
    attempt: int = 1
    stream: int = 0
    window: Window = ALL_ROWS
    watermark: WatermarkMove | None = None
    max_rows_per_s: float | None = None
    program: Path | None = None
    """The directory of the etl.py that changes the rows or hears of batches; None = it does neither."""

    def work(self, watcher: Watcher, connections: Connections) -> Result:
        """Copy the stream. Arrow is imported here, in the worker."""
        from etl_cli.runtime.stream import copy_stream

        return copy_stream(self, watcher, connections)


@dataclass(frozen=True)
class Result:
    """A stream that is done: what moved, and what the source counted (None = not asked, or written meanwhile)."""

    moved: Moved
    counted: int | None
    notes: tuple[str, ...] = ()
    checksums: Mapping[str, tuple[int, int]] | None = None
    """By column of the target what the source summed over the window: values that are not NULL, sum of hashes."""
    last_position: tuple[str, ...] = ()


class Watcher:
    """Hears from a stream; the defaults do nothing."""

    def expect(self, rows: int) -> None:
        """The source has counted the rows that are left to read."""

    def moved(self, moved: Moved) -> None:
        """Another batch is on its way to the sink."""

    def retrying(self, error: EtlError, seconds: float) -> None:
        """A chunk has failed and will be tried again after so many seconds."""

    def said(self, text: str) -> None:
        """Something for the run's log."""

    def advanced(self, done: float, total: float | None) -> None:
        """The program tells how far it is, in its own unit."""

    def is_cancelled(self) -> bool:
        """Whether the stream should stop; asked between batches."""
        return False
