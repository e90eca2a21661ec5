"""The table, as it is read at night on a narrow terminal."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from etl_cli.cli.monitor import with_seconds
from etl_cli.cli.monitor_show import looks_data, looks_text, watch_looks
from etl_cli.monitor.look import Look
from etl_cli.runtime.health import Health
from etl_cli.runtime.ledger.history import RunRow
from etl_cli.systemd.service import Service

NOW = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)
LONG = "customers-of-the-whole-wide-world-2026ab"
FAILING = Health("failing", f"run 9 failed: {'x' * 300}", f"`manage-pipeline logs {LONG}`")


def look(name: str, health: Health, *, ago_s: float = 1500, largest: bool = False) -> Look:
    at = NOW - timedelta(seconds=ago_s)
    rows, errors, cpu_s, memory, restarts = (
        (1_234_567_890, 10_000, 8.64e7, 99_999 * 10**6, 9999) if largest else (29_747, 0, 12.3, 61_000_000, 0)
    )
    run = RunRow(7, name, "interrupted", "slot", 1, "db7", at, at, at, rows, 1, None, None, None)
    service = Service(name, Path("/etc/etl/pipelines") / name, "system")
    return Look(service, health, run, NOW + timedelta(minutes=34), errors, cpu_s, memory, restarts)


OK = look("orders", Health("ok", "run 7 succeeded"))
WORST = look(LONG, FAILING, ago_s=999 * 86400, largest=True)


def shown(looks: list[Look], width: int = 120, height: int | None = None, problems: tuple[str, ...] = ()) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(looks_text(console, looks, problems, NOW, height))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("width", [80, 100, 120, 240])
def test_it_fits_and_cuts_nothing_but_a_long_name(width: int) -> None:
    lines = shown([OK, WORST], width)
    assert max(map(len, lines)) <= min(width, 120) or width > 120
    for line in lines[:6]:
        assert line.replace("customers-of-the-whole-wi…", "").count("…") == 0
    whole = " ".join(lines)
    assert ("1,234,567,890" in whole, "99,999 MB" in whole) == (width >= 92, width >= 118)
    assert f"{LONG} is failing" in whole
    assert whole.replace(" ", "").count("x" * 300) == 1
    assert "10,000" in whole


def test_who_needs_somebody_stands_first_and_says_what_to_do() -> None:
    lines = shown([OK, look("b", Health("dead", "the service has failed", "read `logs`")), look("a", FAILING)])
    names = [line.split()[0] for line in lines if "25m ago" in line]
    assert names == ["b", "a", "orders"]
    at = lines.index("b is dead")
    assert lines[at + 1 : at + 3] == ["  the service has failed", "  -> read `logs`"]
    assert lines[0].endswith("3 pipelines: 1 ok, 1 failing, 1 dead")


def test_what_has_one_reason_is_told_once() -> None:
    away = [look(f"p{number:02}", Health("failing", "no sink", f"`check p{number:02}`")) for number in range(40)]
    lines = shown([*away, look("other", Health("failing", "no key"))])
    assert "p00, p01, p02, p03, p04, p05 and 34 more are failing" in lines
    assert (lines.count("  no sink"), lines.count("  -> `check p00`"), lines.count("  no key")) == (1, 1, 1)


def test_where_the_terminal_is_low_those_that_are_well_give_way() -> None:
    looks = [look(f"p{number:02}", Health("ok", "well")) for number in range(40)] + [look("sick", FAILING)]
    lines = shown(looks, height=30)
    assert len(lines) <= 30
    assert any(line.startswith("sick") for line in lines)
    assert any(line.startswith("... and") for line in lines)


def test_what_could_not_be_told_is_noted() -> None:
    assert "note: errors are not counted" in shown([OK], problems=("errors are not counted",))


def test_without_pipelines_it_says_how_to_make_one() -> None:
    assert shown([]) == ["no pipelines yet: etl-cli generate --name orders"]


def test_as_data_everything_is_whole() -> None:
    data = looks_data([OK, WORST], [])
    assert data["well"] is False
    first, second = data["pipelines"]
    assert (first["name"], first["state"], first["memory_bytes"]) == ("orders", "ok", 61_000_000)
    assert (second["name"], second["reason"], second["last_run"]["rows"]) == (LONG, FAILING.reason, 1_234_567_890)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["--watch"], ["--watch", "5.0"]),
        (["--watch", "2"], ["--watch", "2"]),
        (["--watch", "--user"], ["--watch", "5.0", "--user"]),
        (["--watch=3"], ["--watch=3"]),
        (["--json"], ["--json"]),
    ],
)
def test_the_seconds_of_watch_may_be_left_out(given: list[str], taken: list[str]) -> None:
    assert with_seconds(given) == taken


class Interrupts:
    """Its destructor meets a Ctrl-C: what is raised there goes nowhere."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _swallowed() -> None:
    Interrupts()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("interrupt", [lambda: signal.raise_signal(signal.SIGINT), _swallowed])
def test_watch_ends_at_ctrl_c_wherever_it_strikes_and_though_the_signal_was_ignored(
    interrupt: Callable[[], None],
) -> None:
    """A shell has what it starts in the background ignore it."""
    looks = 0

    def looked() -> tuple[list[Look], list[str]]:
        nonlocal looks
        looks += 1
        assert looks < 4, "it goes on"
        if looks == 2:
            interrupt()
        return [OK], []

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watch_looks(Console(file=io.StringIO(), force_terminal=True), looked, 0.01)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert looks == 2
