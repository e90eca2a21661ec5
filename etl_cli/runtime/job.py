"""A task as it is handed to a worker, and what comes back. Imports no Arrow: the run's own process needs none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.sink.connect import Sink
from etl_cli.runtime.sink.shadow import Shadow
from etl_cli.runtime.source.connect import Shard

SNAPSHOT = "snapshot"
READ_COMMITTED = "read committed"


class CancelledError(EtlError):
    """The run was asked to stop."""


@dataclass(frozen=True)
class Job:
    """All that a stream needs, in a form that travels to another process."""

    task: TaskId
    shard: Shard
    sink: Sink
    plan: TablePlan
    shadow: Shadow
    isolation: str
    application: str
    attempt: int = 1
    stream: int = 0


@dataclass(frozen=True)
class Result:
    """A task that is loaded: what moved, and what the source counted (None = not asked)."""

    moved: Moved
    counted: int | None
    note: str | None
    srids: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """The spatial reference systems of each spatial column of the target."""


class Watcher:
    """Hears from a stream; the defaults do nothing."""

    def expect(self, rows: int) -> None:
        """The source has counted its rows."""

    def moved(self, moved: Moved) -> None:
        """Another batch is on its way to the sink."""

    def is_cancelled(self) -> bool:
        """Whether the stream should stop; asked between batches."""
        return False
