"""What systemd and the journal answer, as values and as one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etl_cli.runtime.errors import UsageError
from etl_cli.systemd.command import Answer, SystemdError, ask
from etl_cli.systemd.journal import error_counts, journal_command, parse_entry
from etl_cli.systemd.overview import state_word
from etl_cli.systemd.systemctl import blocks, parse_state, translate
from etl_cli.systemd.unit import Scope

SHOWN = """MainPID=42
NRestarts=3
ExecMainStartTimestamp=Tue 2023-11-14 22:13:20.250000 UTC
Result=success
ExecMainStatus=0
StatusText=idle = asleep
MemoryCurrent=[not set]
CPUUsageNSec=1500000000
Id=etl-a.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/etl-a.service
DropInPaths=/etc/x.conf /etc/y.conf
UnitFileState=enabled
NeedDaemonReload=no

Id=etl-b.service
LoadState=not-found
ActiveState=inactive
MemoryCurrent=18446744073709551615
ExecMainStartTimestamp=
"""


def test_what_show_prints_becomes_values() -> None:
    first, second = map(parse_state, blocks(SHOWN))
    assert (first.unit, first.running, first.enabled, first.pid, first.restarts) == ("etl-a.service", True, True, 42, 3)
    assert first.status_text == "idle = asleep"
    assert first.started_at == datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
    assert (first.memory_bytes, first.cpu_s) == (None, 1.5)
    assert first.drop_ins == (Path("/etc/x.conf"), Path("/etc/y.conf"))
    assert (second.loaded, second.pid, second.started_at, second.memory_bytes) == (False, None, None, None)
    assert [state_word(state) for state in (first, second, None)] == ["running", "not installed", "unknown"]


@pytest.mark.parametrize(
    ("scope", "said", "told"),
    [
        (
            "system",
            "System has not been booted with systemd as init system (PID 1). Can't operate.",
            "not run by systemd",
        ),
        ("user", "Failed to connect to bus: No medium found", "loginctl enable-linger"),
        ("system", "Failed to start etl-a.service: Interactive authentication required.", "run: sudo"),
        ("system", "Failed to start etl-a.service: Access denied", "--user"),
        ("system", "Failed to start etl-a.service: Unit etl-a.service not found.", "manage-pipeline start a"),
        (
            "system",
            'Job for etl-a.service failed because a timeout was exceeded.\nSee "systemctl status etl-a.service"',
            "did not say that it is ready in time: see why with: manage-pipeline logs a",
        ),
        (
            "system",
            'Job for etl-a.service failed because the control process exited with error code.\nSee "x" for details.',
            "etl-a.service could not start: the control process exited with error code: see",
        ),
        ("system", "Something new", "systemctl start etl-a.service: Something new"),
    ],
)
def test_what_systemd_refuses_becomes_one_line(scope: Scope, said: str, told: str) -> None:
    error = translate(scope, "start", "etl-a.service", Answer(1, "", said))
    assert told in str(error)
    assert "\n" not in str(error)
    assert error.remedy


def test_a_missing_program_is_told() -> None:
    with pytest.raises(SystemdError, match="not run by systemd"):
        ask(["no-such-systemctl"])


def test_a_program_that_hangs_is_told() -> None:
    with pytest.raises(SystemdError, match="did not answer within"):
        ask(["sleep", "5"], timeout_s=0.1)


def test_an_event_of_the_journal_becomes_an_entry() -> None:
    line = {"__REALTIME_TIMESTAMP": "1700000000000000", "PRIORITY": "4", "MESSAGE": "late", "RUN_ID": "7", "_PID": "1"}
    entry = parse_entry(json.dumps(line))
    assert (entry.level, entry.text, entry.fields) == ("warning", "late", {"RUN_ID": "7"})
    assert entry.at == datetime.fromtimestamp(1700000000, UTC)


@pytest.mark.parametrize(
    ("message", "text"), [([195, 169, 255], "é\ufffd"), (None, ""), (["a", "b"], "a b"), ("x", "x")]
)
def test_a_message_of_any_form_is_text(message: object, text: str) -> None:
    assert parse_entry(json.dumps({"MESSAGE": message})).text == text


@pytest.mark.parametrize(
    ("priority", "level"), [("0", "error"), ("3", "error"), ("5", "info"), ("7", "debug"), (None, "info")]
)
def test_priorities_are_levels(priority: str | None, level: str) -> None:
    assert parse_entry(json.dumps({"PRIORITY": priority})).level == level


def test_the_level_and_the_scope_are_asked_of_journalctl() -> None:
    command = journal_command("etl-a.service", "user", lines=5, since="today", level="error", follow=True)
    assert command[1] == "--user"
    assert {"--unit=etl-a.service", "--lines=5", "--since=today", "--priority=3", "--follow"} <= set(command)
    with pytest.raises(UsageError, match="use one of debug, info"):
        journal_command("x", "system", lines=None, since=None, level="loud", follow=False)


def test_errors_are_counted_for_all_units_by_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"_SYSTEMD_UNIT": "etl-a.service"},
        {"_SYSTEMD_UNIT": "init.scope", "UNIT": "etl-a.service"},
        {"_SYSTEMD_UNIT": "etl-b.service"},
        {"PRIORITY": "3"},
    ]
    answer = "\n".join(map(json.dumps, lines))
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    counts = error_counts(["etl-a.service", "etl-b.service", "etl-c.service"], "system", since="-24h")
    assert [counts[f"etl-{name}.service"] for name in "abc"] == [2, 1, 0]
    [call] = (tmp_path / "calls").read_text().splitlines()
    for word in ("--unit=etl-a.service", "--unit=etl-c.service", "--priority=3", "--since=-24h"):
        assert word in call
    assert error_counts([], "system", since="-24h") == {}
