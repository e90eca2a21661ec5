"""Pipelines with their service, their last run and their next one; each part stays useful without the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from etl_cli.runtime.config.databases import ConnectionRetries
from etl_cli.runtime.config.load import load_config
from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.health import HistoryRow
from etl_cli.runtime.ledger.history import (
    RunRow,
    TaskRow,
    last_runs,
    recent_histories,
    tasks_of_run,
)
from etl_cli.runtime.ledger.pauses import Pause, pauses_of
from etl_cli.runtime.sink.connect import Sink, SinkConnection, connect_sink
from etl_cli.systemd.command import SystemdError
from etl_cli.systemd.service import Service, changed_since_start, known_config, service_of
from etl_cli.systemd.systemctl import Systemctl, UnitState

T = TypeVar("T")
LEDGER_TIMEOUT_S = 3.0
"""A list does not wait longer for a sink that is down."""


@dataclass(frozen=True)
class Found:
    """A pipeline's service and configuration; None where that cannot be loaded, and `broken` says why."""

    service: Service
    config: Config | None
    broken: str = ""


@dataclass(frozen=True)
class Overview:
    """A pipeline in a list; `problems` say which part could not be told, and why.

    `unit` is None where systemd cannot be asked, which `no_unit` tells; `history`, as `runtime.health` judges it, is
    None where the ledger cannot be read, which `no_ledger` tells.
    """

    service: Service
    config: Config | None
    broken: str
    no_unit: str
    no_ledger: str
    state: str
    enabled: bool
    unit: UnitState | None
    last_run: RunRow | None
    history: Sequence[HistoryRow] | None
    pause: Pause | None
    next_run: datetime | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Detail:
    """All about one pipeline."""

    overview: Overview
    config: Config | None
    next_runs: tuple[datetime, ...]
    tasks: Sequence[TaskRow]
    notes: tuple[str, ...]


def list_pipelines(directories: Iterable[Path], *, user: bool, now: datetime) -> list[Overview]:
    """An overview of each, with one call of systemctl a scope and one connection a sink."""
    return overviews_of(find_services(directories, user=user), now)


def find_services(directories: Iterable[Path], *, user: bool) -> list[Found]:
    """The pipeline in each directory; where config.yaml is broken, under the directory's name."""
    loaded = [(directory, *_config(directory)) for directory in directories]
    return [
        Found(service_of(directory, config.name if config else directory.name, user=user), config, broken)
        for directory, config, broken in loaded
    ]


def overviews_of(found: Sequence[Found], now: datetime) -> list[Overview]:
    """What systemd and the sinks tell of them."""
    with ThreadPoolExecutor(max_workers=1) as beside:  # systemctl answers while the sinks do
        asked = beside.submit(_units, [one.service for one in found])
        remembered = _remembered([one.config for one in found if one.config])
        units, no_unit = asked.result()
    return [_overview(one, units.get((one.service.scope, one.service.unit)), no_unit, remembered, now) for one in found]


def show_pipeline(directory: Path, *, user: bool, now: datetime) -> Detail:
    """All about the pipeline in `directory`."""
    [overview] = list_pipelines([directory], user=user, now=now)
    config, _ = _config(directory)
    tasks: Sequence[TaskRow] = []
    if config and overview.last_run:
        tasks = _read(config, lambda connection: tasks_of_run(connection, _id(overview))) or []
    notes = _notes(overview)
    if overview.pause:
        notes.append(str(overview.pause))
    return Detail(overview, config, tuple(next_runs(config, now, 3)) if config else (), tasks, tuple(notes))


def next_runs(config: Config, now: datetime, count: int) -> list[datetime]:
    """When it is due next, in the pipeline's zone; nothing where it has no schedule."""
    from etl_cli.runtime.schedule import Schedule

    if config.schedule is None:
        return []
    zone = ZoneInfo(config.timezone)
    return [slot.due.astimezone(zone) for slot in Schedule.of(config).next_slots(now, count)]


def state_word(unit: UnitState | None) -> str:
    """One word for a unit's state."""
    if unit is None:
        return "unknown"
    if not unit.loaded:
        return "not installed"
    if unit.sub == "auto-restart":
        return "restarting"
    words = {"active": "running", "reloading": "running", "activating": "starting", "deactivating": "stopping"}
    return words.get(unit.active, "failed" if unit.active == "failed" else "stopped")


def _overview(
    found: Found, unit: UnitState | None, no_unit: str, remembered: Mapping[str, _Memory | str], now: datetime
) -> Overview:
    due = next_runs(found.config, now, 1) if found.config else []
    memory = remembered[found.config.id] if found.config else ""
    no_ledger, runs = (memory, _Memory()) if isinstance(memory, str) else ("", memory)
    no_unit = "" if unit else no_unit
    return Overview(
        service=found.service,
        config=found.config,
        broken=found.broken,
        no_unit=no_unit,
        no_ledger=no_ledger,
        state=state_word(unit),
        enabled=bool(unit and unit.enabled),
        unit=unit,
        last_run=runs.last,
        history=runs.history,
        pause=runs.pause,
        next_run=due[0] if due else None,
        problems=tuple(problem for problem in (found.broken, no_unit, no_ledger) if problem),
    )


def _notes(overview: Overview) -> list[str]:
    unit = overview.unit
    if unit is None:
        return []
    notes = changed_since_start(overview.service, unit)
    said = known_config(overview.service) or {}
    if unit.running and said.get("problem"):
        notes.append(f"config.yaml is wrong, the service goes on with the old one: {said['problem']}")
    if unit.needs_reload:
        notes.append("the unit's file has changed on disk: `restart` takes it")
    notes += [f"a drop-in changes the unit: {path}" for path in unit.drop_ins]
    return notes


def _config(directory: Path) -> tuple[Config | None, str]:
    try:
        return load_config(directory), ""
    except EtlError as error:
        return None, str(error)


def _units(services: Sequence[Service]) -> tuple[dict[tuple[str, str], UnitState], str]:
    units: dict[tuple[str, str], UnitState] = {}
    for scope in ("system", "user"):
        names = [service.unit for service in services if service.scope == scope]
        try:
            found = Systemctl(scope).show_all(names)
        except SystemdError as error:
            return units, str(error)
        units.update({(scope, name): state for name, state in found.items()})
    return units, ""


@dataclass(frozen=True)
class _Memory:
    """What the ledger remembers of a pipeline."""

    last: RunRow | None = None
    history: Sequence[HistoryRow] | None = None
    pause: Pause | None = None


def _remembered(configs: Sequence[Config]) -> dict[str, _Memory | str]:
    """By the pipeline's id, or why it cannot be told; pipelines of one sink share a connection."""
    by_sink: dict[Hashable, list[Config]] = {}
    for config in configs:
        sink = config.sink
        by_sink.setdefault((sink.host, sink.port, sink.database, sink.user, sink.password), []).append(config)
    found: dict[str, _Memory | str] = {}
    with ThreadPoolExecutor(max_workers=16) as pool:
        for answer in pool.map(_memories_of_sink, by_sink.values()):
            found.update(answer)
    return found


def _memories_of_sink(configs: Sequence[Config]) -> dict[str, _Memory | str]:
    ids = {config.name: config.id for config in configs}
    try:
        with connect_sink(_sink(configs[0]), "etl-cli list", attempts=1) as connection:
            last, histories = last_runs(connection, ids), recent_histories(connection, ids)
            pauses = pauses_of(connection, ids)
    except EtlError as error:
        return {config.id: str(error) for config in configs}
    return {c.id: _Memory(last.get(c.name), histories[c.name], pauses.get(c.name)) for c in configs}


def _read(config: Config, reading: Callable[[SinkConnection], T]) -> T | None:
    try:
        with connect_sink(_sink(config), f"etl-cli {config.name} info", attempts=1) as connection:
            return reading(connection)
    except EtlError:  # the overview has said why
        return None


def _id(overview: Overview) -> int:
    assert overview.last_run is not None
    return overview.last_run.run_id


def _sink(config: Config) -> Sink:
    return Sink(config.sink, ConnectionRetries(retries=0, timeout=LEDGER_TIMEOUT_S))


def now_utc() -> datetime:
    """The clock."""
    return datetime.now(UTC)
