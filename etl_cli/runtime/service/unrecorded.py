"""What could not be written into the ledger because the sink was away: kept on this host, and recorded later."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from etl_cli.runtime.ledger.ledger import end_run_of
from etl_cli.runtime.ledger.requests import answer_request
from etl_cli.runtime.ledger.slots import end_slot
from etl_cli.runtime.sink.connect import SinkConnection

FILE = "unrecorded.jsonl"


@dataclass(frozen=True)
class Ending:
    """How a piece of work ended: a slot's (`due`, `entry`), a request's, the run's of a process `pid` of this host."""

    outcome: str
    due: str | None = None
    entry: int = 0
    request_id: int | None = None
    run_id: int | None = None
    pid: int | None = None
    error: str | None = None

    def record(self, connection: SinkConnection, pipeline: str) -> None:
        """Write it; a second time changes nothing."""
        if self.due is not None:
            end_slot(connection, pipeline, datetime.fromisoformat(self.due), self.entry, self.outcome)
        if self.request_id is not None:
            answer_request(connection, self.request_id, self.outcome)
        if self.run_id is not None and self.pid is not None and self.outcome in ("failed", "cancelled"):
            end_run_of(connection, self.run_id, self.pid, self.outcome, self.error or "")


class Unrecorded:
    """A file in $STATE_DIRECTORY; in memory alone where there is none."""

    def __init__(self) -> None:
        place = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        self._file = Path(place) / FILE if place else None
        self._endings: list[Ending] = []
        if self._file is not None:
            with contextlib.suppress(OSError):
                lines = self._file.read_text(encoding="utf-8").splitlines()
                self._endings = [ending for line in lines if (ending := _ending(line))]

    def __len__(self) -> int:
        return len(self._endings)

    def keep(self, ending: Ending) -> None:
        """Remember it over a restart and a crash of the host."""
        self._endings.append(ending)
        self._write()

    def record(self, connection: SinkConnection, pipeline: str) -> int:
        """Write all of them into the ledger; how many. psycopg.Error leaves them where they are."""
        for ending in self._endings:
            ending.record(connection, pipeline)
        count = len(self._endings)
        self._endings.clear()
        if count:
            self._write()
        return count

    def _write(self) -> None:
        if self._file is None:
            return
        partial = self._file.with_suffix(".new")
        with contextlib.suppress(OSError), partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(ending)) + "\n" for ending in self._endings)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(self._file)


def _ending(line: str) -> Ending | None:
    """None for a line that a crash cut off."""
    with contextlib.suppress(ValueError, TypeError):
        return Ending(**json.loads(line))
    return None
