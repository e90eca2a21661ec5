"""The text of etl-monitor.service and etl-monitor.timer; pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etl_cli.systemd import escape
from etl_cli.systemd.unit import in_homes, render_unit

SERVICE = "etl-monitor.service"
TIMER = "etl-monitor.timer"


@dataclass(frozen=True)
class MonitorFacts:
    """All that the units' text depends on.

    `home` is the directory that holds `pipelines/`; `libraries` are the directories that the interpreter reads;
    `journal_group` is the group that may read the journal, empty where the host has none.
    """

    home: Path
    interpreter: Path
    user: str = "etl"
    journal_group: str = "systemd-journal"
    libraries: tuple[Path, ...] = ()


def monitor_units(facts: MonitorFacts) -> dict[str, str]:
    """The units by their names, the service first. Raises UsageError for a path that cannot be."""
    service = render_unit(
        "monitor.service.j2",
        program=escape.program(str(facts.interpreter)),
        home=escape.word(f"ETL_HOME={facts.home}"),
        user=facts.user,
        journal_group=facts.journal_group,
        system=True,
        in_homes=[escape.bind(path) for path in in_homes((facts.home, *facts.libraries))],
        writable=[],
    )
    return {SERVICE: service, TIMER: render_unit("monitor.timer.j2")}
