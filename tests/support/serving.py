"""A service's process for a test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.waiting import until

ORDERS = ("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1), (2)")
_PROGRAM = """
import sys
from pathlib import Path
from etl_cli.runtime.service import ledger_watch, supervisor
ledger_watch.RECONNECT_S = float(sys.argv[2])
sys.exit(supervisor.serve(Path(sys.argv[1])))
"""


@dataclass
class Service:
    """`lines` are what it has logged."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    def said(self, text: str, timeout_s: float = 40) -> str:
        """Wait until it has logged that; the line."""
        until(lambda: any(text in line for line in self.lines), timeout_s, lambda: self.lines)
        return next(line for line in self.lines if text in line)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())


@contextlib.contextmanager
def serving(directory: PipelineDirectory, reconnect_s: float = 15, **environment: str) -> Iterator[Service]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(directory.path), str(reconnect_s)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    service = Service(process)
    listener = threading.Thread(target=service.listen, daemon=True)
    listener.start()
    try:
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        listener.join(5)
        if process.stderr is not None:
            process.stderr.close()


def runs(sink: SinkDatabase) -> list[tuple[Any, ...]]:
    return rows_of(sink, "SELECT state, requested_by FROM etl.runs ORDER BY run_id")
