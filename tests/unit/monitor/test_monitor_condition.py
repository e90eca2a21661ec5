"""Stopped on purpose, or down though nobody wished it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from etl_cli.monitor.condition import service_of
from etl_cli.systemd.systemctl import parse_state

STARTED = "Mon 2026-01-05 09:00:00.000000 UTC"
UP = {"Id": "etl-a.service", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success"}
UP |= {"UnitFileState": "enabled", "ExecMainStartTimestamp": STARTED, "NRestarts": "1"}
INACTIVE = {**UP, "ActiveState": "inactive", "SubState": "dead"}
GONE = {"LoadState": "not-found", "ActiveState": "inactive"}


def test_what_is_up_is_known_since_its_start_with_its_restarts() -> None:
    service = service_of("a", parse_state(UP), wanted=True)
    assert (service.condition, service.restarts) == ("up", 1)
    assert service.since == datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("properties", "wanted", "condition", "told"),
    [
        ({**UP, "ActiveState": "reloading"}, True, "up", "is up"),
        ({**UP, "ActiveState": "activating", "SubState": "start"}, True, "up", "is up"),
        (
            {**UP, "ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}
            | {"ExecMainStatus": "1"},
            True,
            "down",
            "ended with exit code 1 and waits to be restarted",
        ),
        ({**INACTIVE, "ActiveState": "failed", "Result": "watchdog"}, True, "down", "watchdog"),
        ({**INACTIVE, "ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"}, False, "down", "signal 9"),
        ({**INACTIVE, "ActiveState": "failed", "Result": "start-limit-hit"}, True, "down", "has given up"),
        ({**INACTIVE, "ActiveState": "failed", "Result": "something-new"}, True, "down", "has failed (something-new)"),
        ({**UP, "ActiveState": "deactivating", "Result": "watchdog"}, True, "down", "watchdog"),
        ({**UP, "ActiveState": "deactivating"}, True, "stopped", "is being stopped"),
        (INACTIVE, True, "stopped", "was stopped"),
        ({**INACTIVE, "UnitFileState": "disabled"}, False, "stopped", "was stopped"),
        ({**INACTIVE, "ExecMainStartTimestamp": ""}, True, "down", "is enabled, but was not started at boot"),
        ({**INACTIVE, "ExecMainStartTimestamp": "", "Job": "117"}, True, "up", "is about to start"),
        ({**INACTIVE, "ExecMainStartTimestamp": "", "UnitFileState": "disabled"}, False, "stopped", "never started"),
        (GONE, False, "stopped", "is not installed"),
        (GONE, True, "down", "has no unit file"),
        ({**UP, "LoadState": "not-found"}, True, "up", "is up"),
    ],
)
def test_only_a_stop_on_purpose_is_one(properties: dict[str, Any], wanted: bool, condition: str, told: str) -> None:
    service = service_of("a", parse_state(properties), wanted=wanted)
    assert service.condition == condition
    assert told in service.told
