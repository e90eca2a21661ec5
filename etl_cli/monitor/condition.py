"""Whether a service is up, was stopped by somebody, or is down though nobody wished it; pure.

systemd does not say who stopped a unit. A stop on purpose (`manage-pipeline stop`, `systemctl stop`, a SIGTERM) leaves
it inactive with the result success, since the supervisor ends only when it is told to; all else leaves another result.
"""

from __future__ import annotations

from datetime import datetime

from etl_cli.runtime.health import Condition, Service
from etl_cli.systemd.systemctl import UnitState

_RESULTS = {
    "exit-code": "ended with exit code {status}",
    "signal": "was killed by signal {status}",
    "core-dump": "crashed with signal {status}",
    "watchdog": "did not answer systemd's watchdog",
    "timeout": "did not start or stop in time",
    "oom-kill": "was killed for want of memory",
    "start-limit-hit": "failed too often in a short time, so systemd has given up",
    "resources": "could not be started: what the unit asks for is not to be had",
}
"""systemd.exec(5), $SERVICE_RESULT."""


def service_of(pipeline: str, unit: UnitState, *, wanted: bool, schedule_since: datetime | None = None) -> Service:
    """What systemd says of a pipeline's unit; `wanted`: it is to start at boot, also where its file is gone."""
    condition, told = _condition(unit, wanted or unit.enabled)
    return Service(
        pipeline,
        condition,
        since=unit.started_at,
        told=told,
        restarts=unit.restarts,
        schedule_since=schedule_since,
    )


def _condition(unit: UnitState, wanted: bool) -> tuple[Condition, str]:
    if unit.sub == "auto-restart":
        return "down", f"{_result(unit)} and waits to be restarted"
    if unit.running or unit.active == "activating":
        return "up", "is up"
    if unit.active == "failed" or unit.result not in ("", "success"):
        return "down", _result(unit)
    if unit.active == "deactivating":
        return "stopped", "is being stopped"
    if not unit.loaded:
        return ("down", "is gone: it is enabled, but has no unit file") if wanted else ("stopped", "is not installed")
    if unit.queued:
        return "up", "is about to start"
    if unit.started_at is None and wanted:
        return "down", "is enabled, but was not started at boot"
    return "stopped", "was stopped" if unit.started_at else "was never started"


def _result(unit: UnitState) -> str:
    """How its last process ended."""
    told = _RESULTS.get(unit.result, "has failed ({result})")
    return told.format(status=unit.exit_status, result=unit.result or "no reason given")
