"""Processes that outlive the command that started them: started, known again, and stopped by their id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process by its id and the moment it began, so that a reused id is not taken for it."""

    pid: int
    began: int

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return _began(self.pid) == self.began

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it: asked first, then killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.is_alive():
                return
            os.kill(self.pid, number)
            deadline = time.monotonic() + timeout_s
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(0.05)


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Start a process of its own session, its output in `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    child.returncode = 0  # it is meant to outlive this process: no warning when the handle goes
    return Process(child.pid, _began(child.pid) or 0)


def _began(pid: int) -> int | None:
    """The process's start in clock ticks since boot (field 22 of proc(5)); None where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
