"""The service's log: one event a line, to the journal with its fields, else to standard error."""

from __future__ import annotations

import os
import socket
import sys

_LEVELS = {"error": 3, "warning": 4, "info": 6}
_JOURNAL = "/run/systemd/journal/socket"


class Log:
    """Writes lines with a level; under systemd with the fields PIPELINE and RUN_ID besides."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._socket: socket.socket | None = None
        if os.environ.get("JOURNAL_STREAM"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def info(self, text: str, run_id: int | None = None) -> None:
        """Something went as it should."""
        self._write("info", text, run_id)

    def warning(self, text: str, run_id: int | None = None) -> None:
        """Something went wrong and was mended, or will be tried again."""
        self._write("warning", text, run_id)

    def error(self, text: str, run_id: int | None = None) -> None:
        """Somebody should look."""
        self._write("error", text, run_id)

    def _write(self, level: str, text: str, run_id: int | None) -> None:
        for line in text.splitlines() or [""]:
            if not self._to_journal(level, line, run_id):
                print(f"{level:7} {line}" if not os.environ.get("JOURNAL_STREAM") else f"<{_LEVELS[level]}>{line}",
                      file=sys.stderr, flush=True)  # fmt: skip

    def _to_journal(self, level: str, line: str, run_id: int | None) -> bool:
        """systemd's native protocol: KEY=value lines in one datagram."""
        if self._socket is None:
            return False
        fields = {
            "MESSAGE": line,
            "PRIORITY": str(_LEVELS[level]),
            "SYSLOG_IDENTIFIER": f"etl-{self._pipeline}",
            "PIPELINE": self._pipeline,
            **({"RUN_ID": str(run_id)} if run_id is not None else {}),
        }
        try:
            self._socket.sendto("".join(f"{k}={v}\n" for k, v in fields.items()).encode(), _JOURNAL)
        except OSError:
            return False
        return True
