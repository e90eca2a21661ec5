"""The service's log: one event a line, to the journal with its fields, to files that rotate, else to standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
from collections import deque
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from etl_cli.runtime.config.model import Logging

KEPT_LINES = 20
"""How many of the last lines an alert may show."""

_JOURNAL = "/run/systemd/journal/socket"
_PRIORITIES = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class Log:
    """Writes events with a level, and what they are about: PIPELINE, RUN_ID, TABLE and SHARD in the journal."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._logger = logging.Logger(pipeline)
        self._recent = _Recent()
        self._configure(Logging(), None)

    def configure(self, settings: Logging) -> None:
        """Take what config.yaml says of level, files and format; a directory that cannot be written is told."""
        directory = settings.directory or os.environ.get("LOGS_DIRECTORY", "").split(":")[0]
        self._configure(settings, Path(directory) if directory else None)

    def info(self, text: str, run_id: int | None = None, table: str | None = None, shard: str | None = None) -> None:
        """Something went as it should."""
        self._write(logging.INFO, text, run_id, table, shard)

    def warning(self, text: str, run_id: int | None = None, table: str | None = None, shard: str | None = None) -> None:
        """Something went wrong and was mended, or will be tried again."""
        self._write(logging.WARNING, text, run_id, table, shard)

    def error(self, text: str, run_id: int | None = None, table: str | None = None, shard: str | None = None) -> None:
        """Somebody should look."""
        self._write(logging.ERROR, text, run_id, table, shard)

    def of_level(self, level: str, text: str, run_id: int | None, table: str | None, shard: str | None) -> None:
        """What somebody else has judged."""
        self._write(logging.getLevelNamesMapping()[level.upper()], text, run_id, table, shard)

    def recent(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._recent.lines)

    def _write(self, level: int, text: str, run_id: int | None, table: str | None, shard: str | None) -> None:
        about = {"RUN_ID": run_id, "TABLE": table, "SHARD": shard}
        fields = {name: str(value) for name, value in about.items() if value is not None}
        for line in text.splitlines() or [""]:
            self._logger.log(level, "%s", line, extra={"fields": fields})

    def _configure(self, settings: Logging, directory: Path | None) -> None:
        for handler in self._logger.handlers[:]:
            self._logger.removeHandler(handler)
            handler.close()
        self._logger.setLevel(settings.level)
        formatter = _Json(self._pipeline) if settings.format == "json" else _Text()
        told = _Journal(self._pipeline) if os.environ.get("JOURNAL_STREAM") else logging.StreamHandler(sys.stderr)
        told.setFormatter(formatter if not isinstance(told, _Journal) else None)
        self._logger.addHandler(told)
        self._logger.addHandler(self._recent)
        if directory is None:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, level in (("output.log", logging.DEBUG), ("error.log", logging.ERROR)):
                file = RotatingFileHandler(
                    directory / name, maxBytes=settings.max_bytes, backupCount=settings.backups, encoding="utf-8"
                )
                file.setLevel(level)
                file.setFormatter(formatter)
                self._logger.addHandler(file)
        except OSError as error:
            missing = f"no log files: {error.strerror}: {error.filename}"
            self.warning(f"{missing}: let the service's user write there, or change logging.directory")


class _Text(logging.Formatter):
    """`2026-01-31T06:00:00+00:00 INFO    run 7: text`."""

    def format(self, record: logging.LogRecord) -> str:
        text, run_id = record.getMessage(), _fields(record).get("RUN_ID")
        # a text about a table or a shard names it by itself
        prefix = f"run {run_id}: " if run_id is not None and f"run {run_id} " not in text else ""
        return f"{_at(record)} {record.levelname:7} {prefix}{text}"


class _Json(logging.Formatter):
    """One object a line."""

    def __init__(self, pipeline: str) -> None:
        super().__init__()
        self._pipeline = pipeline

    def format(self, record: logging.LogRecord) -> str:
        about = {name.lower(): value for name, value in _fields(record).items()}
        event = {"at": _at(record), "level": record.levelname.lower(), "pipeline": self._pipeline, **about}
        return json.dumps({**event, "text": record.getMessage()}, ensure_ascii=False)


class _Recent(logging.Handler):
    """Keeps the last lines in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.setFormatter(_Text())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class _Journal(logging.Handler):
    """systemd's native protocol: KEY=value lines in one datagram; standard error where that cannot be."""

    def __init__(self, pipeline: str) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        fields = {
            "MESSAGE": record.getMessage(),
            "PRIORITY": str(_PRIORITIES[record.levelno]),
            "SYSLOG_IDENTIFIER": f"etl-{self._pipeline}",
            "PIPELINE": self._pipeline,
            **_fields(record),
        }
        try:
            self._socket.sendto("".join(f"{k}={v}\n" for k, v in fields.items()).encode(), _JOURNAL)
        except OSError:
            with contextlib.suppress(OSError):
                print(f"<{_PRIORITIES[record.levelno]}>{record.getMessage()}", file=sys.stderr, flush=True)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _fields(record: logging.LogRecord) -> dict[str, str]:
    fields: dict[str, str] = record.__dict__["fields"]
    return fields


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
