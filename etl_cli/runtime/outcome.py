"""How a run and its tables ended, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.ledger.ledger import RunTotals
from etl_cli.runtime.progress import Moved, Progress
from etl_cli.runtime.sink.publish import Published


@dataclass
class TableOutcome:
    """How one table ended."""

    source: str
    target: str
    mode: str
    published: Published | None = None
    notes: list[str] = field(default_factory=list)
    moved: Moved | None = None
    """What was merged chunk by chunk, where the rows were visible at once."""


@dataclass
class Outcome:
    """How a run ended."""

    run_id: int | None
    """None where it has no ledger."""
    state: str
    totals: RunTotals
    tables: list[TableOutcome]
    progress: Progress
    seconds: dict[str, float]
    """Time of each phase: plan, start (workers), copy (first read to all loaded), apply (key built, visible)."""
    error: EtlError | None = None
    notes: list[str] = field(default_factory=list)
    attempt: int = 1


class RunFailedError(EtlError):
    """A run that did not succeed; `outcome` says all that is known of it."""

    def __init__(self, message: str, remedy: str, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(message, remedy)
