"""The monitor's log: monitor.log, rotated by size, and the journal of its unit by standard output."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from etl_cli.runtime.errors import EtlError

FILE = "monitor.log"
MAX_BYTES = 10_000_000
BACKUPS = 5
_PREFIXES = {logging.ERROR: "<3>", logging.WARNING: "<4>", logging.INFO: "<6>"}


class MonitorLog:
    """One line an event. Raises EtlError where the file cannot be written."""

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._logger = logging.Logger("monitor")
        try:
            file = RotatingFileHandler(
                directory / FILE, maxBytes=max_bytes, backupCount=BACKUPS, encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise EtlError(
                f"{error.filename} cannot be written ({error.strerror})", "give it to the user that the monitor runs as"
            ) from error
        file.setFormatter(_Dated())
        journal = logging.StreamHandler(sys.stdout)
        journal.setFormatter(_Prefixed())
        for handler in (file, journal):
            self._logger.addHandler(handler)

    def info(self, text: str) -> None:
        """Nobody needs to be woken."""
        self._logger.info("%s", text)

    def warning(self, text: str) -> None:
        """The monitor does not see all that it should."""
        self._logger.warning("%s", text)

    def error(self, text: str) -> None:
        """A pipeline needs somebody, or the monitor itself does."""
        self._logger.error("%s", text)

    def close(self) -> None:
        """Close the file."""
        for handler in self._logger.handlers:
            handler.close()


class _Dated(logging.Formatter):
    """`2026-01-31T06:00:00+00:00 ERROR   orders: ok -> dead: ...`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
        return f"{at} {record.levelname:7} {record.getMessage()}"


class _Prefixed(logging.Formatter):
    """With the level as sd-daemon(3) has it."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_PREFIXES.get(record.levelno, '<6>')}{record.getMessage()}"
