"""An attempt's process, as the supervisor holds it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etl_cli.runtime.interrupts import CANCEL
from etl_cli.runtime.service.reports import REPORT_FD, Report


class Child:
    """Started at once, to go by the config.yaml of this `text`; read `pipe` whenever it is readable."""

    def __init__(self, directory: Path, text: str, request: Mapping[str, Any]) -> None:
        self.pipe, theirs = os.pipe()
        os.set_blocking(self.pipe, False)
        self._rest = b""
        self.last: Report | None = None
        self.heard_at = time.monotonic()
        self.killed_for: str | None = None
        self.cancelled_by: str | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "etl_cli.runtime", "attempt", str(directory), json.dumps(request)],
                stdin=subprocess.PIPE,
                env={**os.environ, REPORT_FD: str(theirs)},
                pass_fds=[theirs],
                start_new_session=True,  # a Ctrl-C of the terminal is the supervisor's alone to hear
            )
        finally:
            os.close(theirs)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:  # whoever has died is found so
            stdin.write(text.encode())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def reports(self) -> list[Report]:
        """What it has told since the last time."""
        try:
            data = os.read(self.pipe, 65_536)
        except BlockingIOError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [Report.of_line(line) for line in lines if line.strip()]
        if found:
            self.heard_at = time.monotonic()
            self.last = found[-1]
        return found

    @property
    def has_told_its_end(self) -> bool:
        """Whether its run is over, though the process may be there for a moment yet."""
        return self.last is not None and self.last.phase == "ended"

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to stop: what is under way is rolled back, the rest is recorded."""
        self._process.send_signal(signal.SIGTERM)

    def cancel(self, by: str) -> None:
        """Have it end for good: what is under way is rolled back, nothing is resumed."""
        if self.cancelled_by is None:
            self.cancelled_by = by
            self._process.send_signal(CANCEL)

    def kill(self, reason: str) -> None:
        """End it and the processes that it made, whatever they are doing."""
        self.killed_for = reason
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Give the pipe back; the process has ended."""
        self._process.wait()
        os.close(self.pipe)
