"""Stops a test's Postgres when the tests' process has died, however it went.

python reaper.py DIRECTORY: waits until its standard input ends, which only the death of the parent or
an orderly end of the tests does; then nothing of the cluster in DIRECTORY stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S = 20.0


@contextlib.contextmanager
def reaped(directory: Path) -> Iterator[None]:
    """Whatever Postgres runs in `directory` is gone after the block, and after this process."""
    reaper = subprocess.Popen(
        [sys.executable, __file__, str(directory)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # an interrupt from the keyboard is not for it
    )
    try:
        yield
    finally:
        reaper.communicate(timeout=2 * PATIENCE_S)


def _reap(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (pid := _server_of(directory)) is not None and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        time.sleep(0.1)
    shutil.rmtree(directory, ignore_errors=True)


def _server_of(directory: Path) -> int | None:
    """The server's process; None where it is gone, also when its number belongs to another program by now."""
    try:
        pid = int((directory / "data" / "postmaster.pid").read_text().split("\n")[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(directory).encode() in command else None


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _reap(Path(sys.argv[1]))
