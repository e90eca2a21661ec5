"""The text of the monitor's units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from etl_cli.monitor.log import MonitorLog
from etl_cli.monitor.unit import SERVICE, TIMER, MonitorFacts, monitor_units
from etl_cli.systemd.unit import UnitFacts, is_edited, unit_text
from tests.support.units import assert_exposure_at_most, needs_systemd_analyze

FACTS = MonitorFacts(Path("/etc/etl"), Path("/opt/etl/venv/bin/python"))


def hardening(text: str) -> str:
    return text.partition("# hardening\n")[2].partition("\n[Install]")[0].strip()


def test_it_looks_every_minute_as_the_user_of_services() -> None:
    units = monitor_units(FACTS)
    assert list(units) == [SERVICE, TIMER]
    lines = units[SERVICE].splitlines()
    expected = [
        "Type=oneshot",
        'ExecStart=":/opt/etl/venv/bin/python" -P -m etl_cli.cli.monitor --record',
        'Environment="ETL_HOME=/etc/etl"',
        "User=etl",
        "SupplementaryGroups=systemd-journal",
        "StateDirectory=etl-monitor",
        "LogsDirectory=etl",
    ]
    assert [line for line in expected if line not in lines] == []
    assert "OnCalendar=minutely" in units[TIMER].splitlines()
    assert "WantedBy=timers.target" in units[TIMER].splitlines()
    assert not any(is_edited(text) for text in units.values())


def test_it_is_hardened_as_a_pipeline_is() -> None:
    pipeline = UnitFacts("orders", Path("/etc/etl/pipelines/orders"), FACTS.interpreter)
    assert hardening(monitor_units(FACTS)[SERVICE]) == hardening(unit_text(pipeline)) != ""


def test_a_home_with_odd_letters_arrives_as_it_is() -> None:
    text = monitor_units(replace(FACTS, home=Path('/home/a b%n"c'), journal_group=""))[SERVICE]
    assert 'Environment="ETL_HOME=/home/a b%%n\\"c"' in text
    assert 'BindReadOnlyPaths="/home/a b%%n\\"c"' in text
    assert "SupplementaryGroups" not in text


@needs_systemd_analyze
def test_security_says_at_most_1_5_without_a_running_systemd(tmp_path: Path) -> None:
    file = tmp_path / SERVICE
    file.write_text(monitor_units(FACTS)[SERVICE])
    assert_exposure_at_most(15, file)


def test_the_log_is_rotated_by_size(tmp_path: Path) -> None:
    log = MonitorLog(tmp_path, max_bytes=1000)
    for number in range(300):
        log.info(f"line {number}")
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["monitor.log", *(f"monitor.log.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
