"""What the parts of a run share once it has begun in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.ledger.ledger import Ledger, PastTask
from etl_cli.runtime.planning import Marks, Resolved
from etl_cli.runtime.program.declared import Declared
from etl_cli.runtime.program.hooks import Hooks
from etl_cli.runtime.progress import Progress
from etl_cli.runtime.request import Request
from etl_cli.runtime.run_facts import RunFacts
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class RunContext:
    """One run: what it was asked, what it found, and where it tells and writes what becomes of it.

    `connection` is the ledger's and of the run's main thread; `past` are the tasks of earlier attempts, `marks` the
    watermarks as they were when it began.
    """

    config: Config
    request: Request
    resolved: Resolved
    declared: Declared
    ledger: Ledger
    connection: SinkConnection
    progress: Progress
    facts: RunFacts
    past: Mapping[tuple[str, str], PastTask]
    marks: Marks
    hooks: Hooks
