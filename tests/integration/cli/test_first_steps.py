"""A newcomer's first steps, as commands: sandbox, generate, check, plan, run, and the pipeline on its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from etl_cli.sandbox.sandbox import Sandbox, free_ports

ETL_CLI = [sys.executable, "-c", "from etl_cli.cli.etl import main; main()"]


class Home:
    """A directory with pipelines and a sandbox of its own, on free ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sandbox = Sandbox(directory / ".sandbox", _four_free_ports(), free_ports(1)[0])
        self.ports = ("--port-base", str(self.sandbox.port_base), "--sink-port", str(self.sandbox.sink_port))
        (directory / "pipelines").mkdir()

    def run(self, *arguments: str, program: list[str] = ETL_CLI) -> subprocess.CompletedProcess[str]:
        """A command, typed in this directory."""
        variables = {**os.environ, "ETL_HOME": str(self.directory), **self.sandbox.environment()}
        return subprocess.run(
            [*program, *arguments],
            cwd=self.directory,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def succeeds(self, *arguments: str, program: list[str] = ETL_CLI) -> str:
        """The output of a command that must succeed."""
        done = self.run(*arguments, program=program)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _four_free_ports() -> int:
    for base in range(20_000, 40_000, 40):
        probes = [socket.socket() for _ in range(4)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no four free ports")


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    directory = Path(tempfile.mkdtemp(prefix="etl-test-home-", dir="/tmp"))
    directory.chmod(0o755)
    home = Home(directory)
    try:
        home.succeeds("sandbox", "up", *home.ports)
        home.succeeds("generate", "--name", "orders")
        yield home
    finally:
        home.run("sandbox", "down", "--purge")
        shutil.rmtree(directory, ignore_errors=True)


def test_the_sandbox_says_what_runs(home: Home) -> None:
    services = json.loads(home.succeeds("sandbox", "status", "--json"))
    assert [(service["name"], service["running"]) for service in services] == [
        ("shard1", True),
        ("shard2", True),
        ("shard3", True),
        ("shard4", True),
        ("postgres", True),
    ]


def test_a_second_up_changes_nothing(home: Home) -> None:
    before = home.succeeds("sandbox", "status", "--json")
    home.succeeds("sandbox", "up", *home.ports)
    assert home.succeeds("sandbox", "status", "--json") == before


def test_generate_prints_the_next_three_commands(home: Home) -> None:
    out = home.succeeds("generate", "--name", "another", "--table", "dbo.orders", "--dry-run")
    assert "nothing was written" in out
    out = home.succeeds("generate", "--name", "another", "--table", "dbo.orders")
    assert out.splitlines()[-4:] == [
        "Next:",
        "  etl-cli check another",
        "  etl-cli plan another",
        "  etl-cli run another",
    ]


def test_check_plan_and_run_succeed_on_what_was_generated(home: Home) -> None:
    assert home.succeeds("check", "orders").splitlines()[-1] == "ready to run"
    assert 'CREATE TABLE "public"."customers"' in home.succeeds("plan", "orders", "--ddl")
    plan = json.loads(home.succeeds("plan", "orders", "--json"))
    assert [table["source"] for table in plan["tables"]] == [
        "dbo.customers",
        "dbo.orders",
        "dbo.order_lines",
        "dbo.events",
    ]
    outcome = json.loads(home.succeeds("run", "orders", "--json"))
    assert outcome["state"] == "succeeded"
    rows = {(task["table"], task["shard"]): task["rows_loaded"] for task in outcome["tasks"]}
    assert rows["dbo.orders", "shard3"] == 2_000
    with home.sandbox.postgres.connect() as connection:
        found = connection.execute("SELECT shard, count(*) FROM orders GROUP BY shard ORDER BY shard").fetchall()
    assert found == [(f"shard{n}", 2_000) for n in range(1, 5)]


def test_the_pipeline_runs_itself(home: Home) -> None:
    etl = str(home.directory / "pipelines" / "orders" / "etl.py")
    out = home.succeeds("run", program=[sys.executable, etl])
    assert out.splitlines()[-1].startswith("run ")
    assert "succeeded: 29,747 rows" in out.splitlines()[-1]
    assert "[OPTIONS] NAME" not in home.succeeds("run", "--help", program=[sys.executable, etl])


@pytest.mark.parametrize("name", ["nowhere", "./nowhere"])
def test_an_unknown_pipeline_is_one_line_and_exit_2(name: str, home: Home) -> None:
    done = home.run("check", name)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "etl-cli: " in done.stderr


@pytest.mark.parametrize("name", ["Orders", "a/b", "9x", "x" * 41, ""])
def test_a_bad_name_is_one_line_and_exit_2(name: str, home: Home) -> None:
    done = home.run("generate", "--name", name)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_name_that_exists_is_one_line_and_exit_2(home: Home) -> None:
    done = home.run("generate", "--name", "orders")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--force" in done.stderr


def test_a_taken_port_is_one_line(home: Home) -> None:
    done = home.run(
        "sandbox", "up", "--directory", str(home.directory / "second"), "--port-base", str(home.sandbox.port_base)
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"etl-cli: port {home.sandbox.port_base} is taken: ")


def test_a_copied_pipeline_is_refused_in_the_same_sink(home: Home) -> None:
    home.succeeds("run", "orders")
    copy = home.directory / "elsewhere"
    shutil.copytree(home.directory / "pipelines" / "orders", copy)
    config = copy / "config.yaml"
    lines = ['id: "00000000"' if line.startswith("id:") else line for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")
    done = home.run("run", str(copy))
    assert done.returncode == 1
    assert "another pipeline named orders" in done.stderr


def test_a_sandbox_that_was_down_comes_up_with_its_sink_as_it_was(home: Home) -> None:
    with home.sandbox.postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    home.succeeds("sandbox", "down")
    with pytest.raises(psycopg.OperationalError):
        home.sandbox.postgres.connect()
    home.succeeds("sandbox", "up", *home.ports)
    with home.sandbox.postgres.connect() as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
    outcome = json.loads(home.succeeds("run", "orders", "--json"))
    assert outcome["state"] == "succeeded"
