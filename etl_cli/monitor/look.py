"""Looks at every pipeline: what systemd, the ledger and the journal tell, and the health that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

from etl_cli.monitor.condition import service_of
from etl_cli.runtime.health import Health, Patience, judge
from etl_cli.runtime.health import Service as ServiceFacts
from etl_cli.runtime.ledger.history import RunRow
from etl_cli.runtime.schedule import Schedule
from etl_cli.systemd import journal
from etl_cli.systemd.command import SystemdError
from etl_cli.systemd.overview import Overview, find_services, overviews_of
from etl_cli.systemd.service import Service
from etl_cli.systemd.systemctl import UnitState
from etl_cli.systemd.unit import Scope

ERRORS_SINCE = "-24h"
_NO_SCHEDULE = Schedule("", ZoneInfo("UTC"))
_QUICK_LOOK_S = 120.0
"""A run's heartbeat comes every 10 s: a shorter `stall_timeout` is the supervisor's matter."""


@dataclass(frozen=True)
class Look:
    """One pipeline at one moment; what is not known is None, and so is the next run of a service that is down."""

    service: Service
    health: Health
    last_run: RunRow | None
    next_run: datetime | None
    errors_24h: int | None
    cpu_s: float | None
    memory_bytes: int | None
    restarts: int | None

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self.service.name


def look_at(directories: Iterable[Path], *, user: bool, now: datetime) -> tuple[list[Look], list[str]]:
    """A look at each pipeline, and what could not be told of any.

    One call of systemctl and one of journalctl a scope, one connection a sink. Raises SystemdError where this host's
    systemd cannot be asked: nothing is known then.
    """
    found = find_services(directories, user=user)
    with ThreadPoolExecutor(max_workers=1) as beside:  # journalctl answers while the others do
        counting = beside.submit(_error_counts, [one.service for one in found])
        overviews = overviews_of(found, now)
        counts, problems = counting.result()
    if overviews and all(overview.unit is None for overview in overviews):
        raise SystemdError(overviews[0].no_unit)
    return [_look(overview, counts, now) for overview in overviews], problems


def health_of(overview: Overview, now: datetime) -> Health:
    """The verdict; a wrong config.yaml and a silent systemd count as a failure of what may well be up."""
    if overview.unit is None:
        return Health("failing", one_line(overview.no_unit), "nothing is known of the service until systemd answers")
    service = _facts(overview.service, overview.unit)
    config = overview.config
    if config is not None:
        patience = Patience(run_s=max(config.stall_timeout, _QUICK_LOOK_S))
        health = judge(overview.history, Schedule.of(config), now, service, patience)
        if overview.pause:
            health = replace(health, reason=f"{health.reason}; {overview.pause}")
        out_of_reach = health.state == "failing" and overview.no_ledger
        return replace(health, reason=f"{health.reason}: {one_line(overview.no_ledger)}") if out_of_reach else health
    by_service = judge((), _NO_SCHEDULE, now, service)
    if by_service.state in ("dead", "stopped"):
        return Health(by_service.state, f"{by_service.reason}; {one_line(overview.broken)}", by_service.next_step)
    told = f"config.yaml or .env cannot be taken, so nobody knows of its runs: {one_line(overview.broken)}"
    return Health("failing", told, f"mend it, then see `etl-cli check {service.pipeline}`")


def one_line(text: str) -> str:
    """What stands on several, on one."""
    return " ".join(text.split())


def _facts(service: Service, unit: UnitState) -> ServiceFacts:
    wanted = not unit.loaded and service.systemctl.is_wanted(service.unit)
    return service_of(service.name, unit, wanted=wanted, schedule_since=_changed_at(service.directory / "config.yaml"))


def _changed_at(file: Path) -> datetime | None:
    """A schedule is not older than the file that it stands in."""
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError:
        return None


def _look(overview: Overview, counts: Mapping[Scope, Counter[str]], now: datetime) -> Look:
    unit, service = overview.unit, overview.service
    counted = counts.get(service.scope)
    health = health_of(overview, now)
    return Look(
        service=service,
        health=health,
        last_run=overview.last_run,
        next_run=None if health.state in ("dead", "stopped") else overview.next_run,
        errors_24h=counted[service.unit] if counted is not None else None,
        cpu_s=unit.cpu_s if unit and unit.running else None,
        memory_bytes=unit.memory_bytes if unit and unit.running else None,
        restarts=unit.restarts if unit and unit.loaded else None,
    )


def _error_counts(services: Sequence[Service]) -> tuple[dict[Scope, Counter[str]], list[str]]:
    """Of each scope, and why those of a scope cannot be told."""
    counts: dict[Scope, Counter[str]] = {}
    problems = []
    for scope in get_args(Scope):
        units = [service.unit for service in services if service.scope == scope]
        try:
            counts[scope] = journal.error_counts(units, scope, since=ERRORS_SINCE)
        except SystemdError as error:
            problems.append(f"errors are not counted: {error}")
    return counts, problems
