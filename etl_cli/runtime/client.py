"""Runs of a pipeline, asked for and looked at from a program: `from etl_cli import Client`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from etl_cli.runtime import asking, looking
from etl_cli.runtime.ledger.history import RunDetail, RunRow
from etl_cli.runtime.locate import find_pipeline


class Client:
    """One pipeline, by its name or its directory; what is asked is done by the service that serves it.

    All methods raise EtlError: UsageError for what cannot be asked, SinkError where the ledger does not answer.
    """

    def __init__(self, pipeline: str | Path) -> None:
        self.directory = pipeline.resolve() if isinstance(pipeline, Path) else find_pipeline(pipeline)

    def run(
        self,
        *,
        full: bool = False,
        tables: Sequence[str] = (),
        shards: Sequence[str] = (),
        steps: Sequence[str] = (),
        members: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
    ) -> int:
        """Ask for a run; the request's number, for `wait`."""
        parts = {"tables": tables, "shards": shards, "steps": steps, "members": members}
        wanted = {name: list(part) for name, part in parts.items()}
        given = {"full": full, **wanted, "params": dict(params or {})}
        return asking.ask_for_run(self.directory, {name: value for name, value in given.items() if value})

    def retry(self, run_id: int | None = None) -> int:
        """Ask for another try of the newest run, which failed or was interrupted; the request's number."""
        return asking.retry_of(self.directory, run_id)

    def rerun(self, run_id: int, from_step: str) -> int:
        """Ask to run a step and those after it again, with the stored results before; the request's number."""
        return asking.ask_for_run(self.directory, {"rerun_of": run_id, "from_step": from_step})

    def wait(self, request: int) -> str:
        """Wait until a request is done: `succeeded`, `failed` or `cancelled`."""
        return asking.wait_for(self.directory, request)

    def cancel(self) -> str:
        """End what runs and forget what waits."""
        return asking.ask_to_cancel(self.directory)

    def pause(self) -> bool:
        """Let slots pass; False where they do already."""
        return asking.pause_slots(self.directory)

    def unpause(self) -> int | None:
        """Run slots again; how many have passed, None where it was not paused."""
        return asking.unpause_slots(self.directory)

    def history(self, limit: int = 20, state: str | None = None, since: datetime | None = None) -> list[RunRow]:
        """The runs, newest first."""
        return looking.history(self.directory, limit, state, since)

    def show(self, run_id: int) -> RunDetail:
        """All about one run."""
        return looking.show_run(self.directory, run_id)
