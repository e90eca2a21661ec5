"""What happens to the jobs of a run, as the workers tell it."""

from __future__ import annotations

from dataclasses import dataclass

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.job import CancelledError, Result, Work
from etl_cli.runtime.progress import Moved


@dataclass(frozen=True)
class Started:
    """A worker has taken up a job."""

    job: Work


@dataclass(frozen=True)
class Expected:
    """The source has counted."""

    job: Work
    rows: int


@dataclass(frozen=True)
class Progressed:
    """Another batch is on its way."""

    job: Work
    moved: Moved


@dataclass(frozen=True)
class Retried:
    """A chunk has failed for a passing reason, and is tried again after so many seconds."""

    job: Work
    error: EtlError
    seconds: float


@dataclass(frozen=True)
class Advanced:
    """The program tells how far it is, in its own unit."""

    job: Work
    done: float
    total: float | None


@dataclass(frozen=True)
class Said:
    """Something for the run's log."""

    job: Work
    text: str


@dataclass(frozen=True)
class Done:
    """A stream has read and loaded all of its window."""

    job: Work
    result: Result


@dataclass(frozen=True)
class Failed:
    """A stream has failed, or was cancelled."""

    job: Work
    error: EtlError

    @property
    def cancelled(self) -> bool:
        """Whether it ended because it was asked to."""
        return isinstance(self.error, CancelledError)


Event = Started | Expected | Progressed | Retried | Advanced | Said | Done | Failed
