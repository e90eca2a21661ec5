"""What `manage-pipeline` tells from the ledger, and what it still tells without it."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from etl_cli.cli.manage_show import print_overviews
from etl_cli.monitor.look import health_of
from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.health import Service, judge
from etl_cli.runtime.ledger.history import recent_histories, recent_history
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.pauses import Pause, pause, unpause
from etl_cli.runtime.ledger.slots import claim_slot
from etl_cli.runtime.looking import history
from etl_cli.runtime.request import Request
from etl_cli.runtime.schedule import Schedule
from etl_cli.systemd.overview import list_pipelines, show_pipeline
from etl_cli.systemd.systemctl import UnitState
from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished, write_config

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = UnitState(
    "etl-orders.service", True, "active", "running", True, "success", "", 1, 0, 0, NOW, None, None, None, (), False
)


@pytest.fixture
def directory(tmp_path: Path, sink: SinkDatabase) -> Path:
    write(tmp_path, sink.port, sink)
    return tmp_path


def write(directory: Path, port: int, sink: SinkDatabase) -> None:
    shards = [{"name": "s1", "host": "localhost"}]
    write_config(
        directory,
        {
            "name": "orders",
            "id": "0000abcd",
            "source": {"user": "sa", "password": "x", "database": "d", "shards": shards},
            "sink": {"host": sink.host, "port": port, "user": sink.user, "password": sink.password}
            | {"database": sink.database, "sslmode": "disable"},
        },
    )


def test_before_the_first_run_there_is_none_and_nothing_is_made_in_the_sink(
    directory: Path, sink: SinkDatabase
) -> None:
    [overview] = list_pipelines([directory], user=False, now=NOW)
    assert (overview.service.name, overview.last_run) == ("orders", None)
    assert history(directory, 5) == []
    with sink.connect() as connection:
        assert connection.execute("SELECT to_regnamespace('etl')").fetchone() == (None,)


def test_runs_are_told_newest_first_with_their_end(directory: Path, sink: SinkDatabase) -> None:
    with sink.open() as connection:
        ledger = Ledger(connection)
        ledger.register("orders", "0000abcd")
        first = ledger.start_run("orders", "f", Request("by hand"))
        ledger.finish_run(first, "failed", "it broke")
        second = ledger.start_run("orders", "f", Request("by hand"))
        ledger.finish_run(second, "succeeded")
    assert [(run.run_id, run.state, run.error) for run in history(directory, 5)] == [
        (second, "succeeded", None),
        (first, "failed", "it broke"),
    ]
    last = show_pipeline(directory, user=False, now=NOW).overview.last_run
    assert last is not None
    assert (last.run_id, last.state, last.rows) == (second, "succeeded", 0)
    assert last.duration_s is not None


def manage(*arguments: str, out: Path | None = None) -> Finished:
    """`manage-pipeline` as a user calls it."""
    command = [sys.executable, "-c", "from etl_cli.cli.manage import main; main()", *arguments]
    with contextlib.ExitStack() as open_:
        target = open_.enter_context(out.open("w")) if out else subprocess.PIPE
        done = subprocess.run(command, stdout=target, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def test_a_long_error_leaves_the_others_of_a_line_their_room(directory: Path, sink: SinkDatabase) -> None:
    with sink.open() as connection:
        ledger = Ledger(connection)
        ledger.register("orders", "0000abcd")
        ledger.finish_run(ledger.start_run("orders", "f", Request("by hand")), "failed", f"{'long ' * 100}\nmore")
        ledger.finish_run(ledger.start_run("orders", "f", Request("by hand")), "succeeded")
    names, last, first = manage("history", str(directory)).out.splitlines()
    assert names.split() == ["run", "state", "began", "took", "rows", "size", "attempt", "by", "host", "error"]
    assert last.split()[:2] == ["2", "succeeded"]
    assert first.split()[:2] == ["1", "failed"]
    assert first.index("by hand") == last.index("by hand") == names.index("by ")
    assert (first[-1], len(first)) == ("…", 240)
    assert "\033" not in first


def test_a_history_that_cannot_be_asked_for_or_written_ends_with_a_line(directory: Path, sink: SinkDatabase) -> None:
    asked = manage("history", str(directory), "--status", "bogus")
    assert (asked.code, asked.out) == (2, "")
    assert asked.err.startswith("manage-pipeline: no run has the state 'bogus': use queued, running, succeeded")
    none = run_shell(directory, "-n 1000 >&-")
    assert (none.code, none.err) == (0, "")
    full = manage("history", str(directory), out=Path("/dev/full"))
    assert (full.code, full.err) == (1, "manage-pipeline: No space left on device\n")


def run_shell(directory: Path, rest: str) -> Finished:
    command = f"{sys.executable} -c 'from etl_cli.cli.manage import main; main()' history {directory} {rest}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def test_who_reads_the_first_lines_only_sees_nothing_else(directory: Path, sink: SinkDatabase) -> None:
    with sink.open() as connection:
        ledger = Ledger(connection)
        ledger.register("orders", "0000abcd")
        for _ in range(300):
            ledger.finish_run(ledger.start_run("orders", "f", Request("by hand")), "failed", "long " * 100)
    seen = run_shell(directory, "-n 1000 | head -1")
    assert (seen.out.split()[:2], seen.err) == (["run", "state"], "")


def test_a_problem_of_all_pipelines_is_told_once(directory: Path, tmp_path: Path) -> None:
    overviews = list_pipelines([directory], user=False, now=NOW)
    told = replace(overviews[0], problems=("systemd is away",), pause=Pause(NOW, "ann", 1))
    console = Console(file=io.StringIO(), width=200)
    print_overviews(console, [told, told])
    out = console.file.getvalue()  # type: ignore[attr-defined]
    assert out.count("paused") == 2
    assert out.splitlines()[-1] == "all pipelines: systemd is away"
    print_overviews(console, [told, replace(told, problems=())])
    assert console.file.getvalue().splitlines()[-1] == "orders: systemd is away"  # type: ignore[attr-defined]


def test_runs_of_another_pipeline_of_the_name_are_not_told(directory: Path, sink: SinkDatabase) -> None:
    with sink.open() as connection:
        ledger = Ledger(connection)
        ledger.register("orders", "0000ffff")
        ledger.finish_run(ledger.start_run("orders", "f", Request("by hand")), "succeeded")
    assert history(directory, 5) == []
    assert list_pipelines([directory], user=False, now=NOW)[0].last_run is None


def test_the_histories_of_many_pipelines_are_read_at_once_back_to_the_last_good_run(sink: SinkDatabase) -> None:
    ends: dict[str, list[str]] = {
        "a": ["succeeded", "failed", "succeeded", "failed", "failed"],
        "b": ["failed"],
        "c": [],
    }
    with sink.open() as connection:
        ledger = Ledger(connection)
        for name, states in ends.items():
            ledger.register(name, f"{ord(name):08x}")
            for state in states:
                ledger.finish_run(ledger.start_run(name, "f", Request("by hand")), state)
        asked = {name: f"{ord(name):08x}" for name in ends} | {"d": "00000000"}
        histories = recent_histories(connection, asked)
        assert {name: [run.state for run in runs] for name, runs in histories.items()} == {
            "a": ["failed", "failed", "succeeded"],
            "b": ["failed"],
            "c": [],
            "d": [],
        }
        assert recent_history(connection, "a", asked["a"]) == histories["a"]
        assert recent_histories(connection, {"a": "0000ffff"}) == {"a": []}, "another pipeline of the name"


def test_without_the_sink_the_rest_is_told(directory: Path, sink: SinkDatabase) -> None:
    write(directory, 1, sink)
    detail = show_pipeline(directory, user=False, now=NOW)
    assert detail.config is not None
    assert any("sink: connecting to" in problem for problem in detail.overview.problems)
    with pytest.raises(SinkError):
        history(directory, 5)


def test_a_broken_configuration_is_told_in_the_list(directory: Path) -> None:
    (directory / "config.yaml").write_text("name: orders\n")
    [overview] = list_pipelines([directory], user=False, now=NOW)
    assert overview.service.name == directory.name
    assert any("problems" in problem or "missing" in problem for problem in overview.problems)


def test_a_pause_is_told_and_its_slots_are_missed_by_nobody(directory: Path, sink: SinkDatabase) -> None:
    config = yaml.safe_load((directory / "config.yaml").read_text())
    write_config(directory, {**config, "schedule": "@hourly"})
    now, last = datetime(2026, 1, 5, 10, 30, tzinfo=UTC), datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
    up = Service("orders", since=last)
    with sink.open() as connection:
        ledger = Ledger(connection)
        ledger.register("orders", "0000abcd")
        assert pause(connection, "orders", "ann@host")
        for hour in (9, 10):
            connection.execute("UPDATE etl.pipelines SET paused_at = %s", [last])
            assert claim_slot(connection, "orders", last.replace(hour=hour, minute=0), 0) == "paused"
        [overview] = list_pipelines([directory], user=False, now=now)
        assert overview.pause is not None
        assert (overview.pause.by, overview.pause.slots) == ("ann@host", 2)
        assert "paused since 2026-01-05 08:30:00 UTC by ann@host: 2 slots have passed" in str(overview.pause)
        assert str(overview.pause) in show_pipeline(directory, user=False, now=now).notes
        assert "; paused since " in health_of(replace(overview, unit=RUNNING), now).reason
        rows = recent_history(connection, "orders", "0000abcd")
        schedule = Schedule.of(load_config(directory))
        assert [row.state for row in rows] == ["passed"]
        assert judge(rows, schedule, now, up).state == "ok"
        assert judge(rows, schedule, now.replace(hour=11), up).state == "late"
        assert unpause(connection, "orders") == 2
        [overview] = list_pipelines([directory], user=False, now=now)
        assert overview.pause is None
        assert judge(overview.history, schedule, now, up).state == "ok"
