"""Has alerts sent by processes of their own: a mail server that does not answer must not hold up the clock."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from etl_cli.runtime.alerts import Alert, Reason, wants
from etl_cli.runtime.service.log import Log
from etl_cli.runtime.service.taken import TakenConfig


class Alarm:
    """Of one pipeline."""

    def __init__(self, directory: Path, taken: TakenConfig, log: Log) -> None:
        self._directory = directory
        self._taken = taken
        self._log = log
        self._senders: list[subprocess.Popen[bytes]] = []

    def raise_(
        self, reason: Reason, what: str, *, run_id: int | None = None, tasks: tuple[str, ...] = (), to_do: str = ""
    ) -> None:
        """Tell whoever wants to know; the log's last lines go with it."""
        if not wants(self._taken.config, reason):
            return
        alert = Alert(reason, self._taken.config.name, what, run_id, tasks, self._log.recent(), to_do)
        sender = subprocess.Popen(
            [sys.executable, "-P", "-m", "etl_cli.runtime", "alert", str(self._directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        assert sender.stdin is not None
        with contextlib.suppress(BrokenPipeError), sender.stdin as stdin:
            stdin.write(f"{alert.as_json()}\n{self._taken.text}".encode())
        self._senders.append(sender)

    def reap(self) -> None:
        """Look which have ended; those that failed have told why by themselves."""
        for sender in self._senders[:]:
            if sender.poll() is not None:
                self._senders.remove(sender)
                if sender.returncode:
                    self._log.error("an alert was not sent; the lines before this one say why")

    def wait(self, timeout_s: float) -> None:
        """Let those that are under way end, before the service does."""
        for sender in self._senders:
            try:
                sender.wait(timeout_s)
            except subprocess.TimeoutExpired:
                sender.kill()
        self.reap()
