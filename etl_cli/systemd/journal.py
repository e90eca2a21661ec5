"""The one caller of journalctl: what a service has said."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from etl_cli.runtime.errors import UsageError
from etl_cli.systemd.command import SystemdError, ask, environment, no_systemd, with_sudo
from etl_cli.systemd.unit import Scope

LEVELS = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""Priorities of syslog(3); notice (5) counts as info."""

MOST_COUNTED = 10_000
_UNIT_FIELDS = ("UNIT", "USER_UNIT", "_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT")
_FIELDS = ("PIPELINE", "RUN_ID", "TABLE", "SHARD")


@dataclass(frozen=True)
class Entry:
    """One event; `fields` are those of ours that it carries."""

    at: datetime
    level: str
    text: str
    fields: Mapping[str, str]


def entries(
    unit: str, scope: Scope, *, lines: int | None, since: str | None, level: str | None, follow: bool = False
) -> Iterator[Entry]:
    """What the unit logged, and what systemd said of it, oldest first; with `follow` without end.

    Raises UsageError for a level or a time that is none, SystemdError where the journal may not be read.
    """
    if follow:  # who may not read it would wait for ever
        for _ in entries(unit, scope, lines=0, since=since, level=level):
            pass
    command = journal_command(unit, scope, lines=lines, since=since, level=level, follow=follow)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment(),
        )
    except FileNotFoundError as error:
        raise no_systemd("there is no journalctl") from error
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            seen = False
            for line in process.stdout:
                if line.startswith("{"):
                    seen = True
                    yield parse_entry(line)
            said = process.stderr.read()
            _check(process.wait(), said, scope, seen=seen, since=since)
        finally:
            process.terminate()


def journal_command(
    unit: str, scope: Scope, *, lines: int | None, since: str | None, level: str | None, follow: bool
) -> list[str]:
    """The command line."""
    if level is not None and level.lower() not in LEVELS:
        raise UsageError(f"{level!r} is not a level", f"use one of {', '.join(LEVELS)}")
    command = ["journalctl", *(["--user"] if scope == "user" else []), "--no-pager", "--output=json"]
    command += [f"--unit={unit}"]
    command += [f"--lines={lines}"] if lines is not None else []
    command += [f"--since={since}"] if since else []
    command += [f"--priority={LEVELS[level.lower()]}"] if level else []
    return command + (["--follow"] if follow else [])


def error_counts(units: Sequence[str], scope: Scope, *, since: str) -> Counter[str]:
    """How many events of priority err and worse each unit has logged, and systemd of it; by one call.

    The newest MOST_COUNTED of all units together are counted. Raises SystemdError where the journal may not be read.
    """
    if not units:
        return Counter()
    command = journal_command(units[0], scope, lines=MOST_COUNTED, since=since, level="error", follow=False)
    fields = [*_UNIT_FIELDS, "PRIORITY"]
    answer = ask([*command, *(f"--unit={unit}" for unit in units[1:]), f"--output-fields={','.join(fields)}"])
    _check(answer.code, answer.err, scope, seen=bool(answer.out), since=since)
    return Counter(filter(None, map(_unit_of, answer.out.splitlines())))


def _unit_of(line: str) -> str:
    """The unit that an event is about: systemd's own words name another one than they come from."""
    data = json.loads(line)
    return next((_text(data[name]) for name in _UNIT_FIELDS if name in data), "")


def parse_entry(line: str) -> Entry:
    """An event of `journalctl --output=json`, where bytes that are no text come as a list of numbers."""
    data = json.loads(line)
    at = datetime.fromtimestamp(int(data.get("__REALTIME_TIMESTAMP", 0)) / 1e6, UTC)
    fields = {name: _text(data[name]) for name in _FIELDS if name in data}
    return Entry(at, _level(data.get("PRIORITY")), _text(data.get("MESSAGE")), fields)


def _level(priority: Any) -> str:
    """The level's name; what carries no priority is information, as systemd has it."""
    number = int(priority) if str(priority).isdigit() else 6
    return next(name for name, least in sorted(LEVELS.items(), key=lambda item: item[1]) if number <= least)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, list):  # the field stands more than once
        return " ".join(_text(item) for item in value)
    return "" if value is None else str(value)


def _check(code: int, said: str, scope: Scope, *, seen: bool, since: str | None) -> None:
    line = " ".join(said.split())
    if "ermission" in line or (scope == "system" and "not seeing messages" in line):
        raise SystemdError(
            "the journal may not be read by this user",
            f"run: {with_sudo()} (or join the group: sudo usermod -aG systemd-journal USER)",
        )
    if since and "Failed to parse timestamp" in line:
        raise UsageError(f"{since!r} is not a time", "e.g. --since '2026-01-31 06:00', '1 hour ago' or today")
    if "No journal files were found" in line:
        raise SystemdError("this host has no journal", "is systemd-journald running?")
    if code > 0 and not seen:
        raise SystemdError(f"journalctl: {line or f'exit code {code}'}", "mend that and repeat")
