"""`scripts/bench`: copies tables by the product, by the bare minimum and by executemany, in turn, and prints ratios.

    scripts/bench [--rows narrow=1000000,wide=100000] [--pairs 5] [--source host:port,...] [--memory] [--no-executemany]

Without --source four stand-ins are started and filled; with it the tables are made there by T-SQL first,
unless --seeded says that they are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.changes import bench_changes
from benchmarks.data import COLUMNS, DEFINITIONS, LOGIN, create_source_table, insert_statements
from benchmarks.modes import bench_modes
from etl_cli.runtime.config.databases import ConnectionRetries, ShardConfig, SourceConfig
from etl_cli.runtime.source.connect import Shard, connect_odbc
from etl_cli.sandbox.postgres import PostgresServer
from etl_cli.sandbox.sandbox import free_ports

DEFAULT_ROWS = "narrow=1000000,wide=100000"
START_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Measured:
    """One command on one table: seconds from the first read to visible, and what the client used."""

    seconds: float
    startup_s: float
    cpu_s: float
    rows: int
    peak_mb: float | None = None
    parts_mb: Sequence[int] = ()


def main() -> None:
    """Parse, start, measure, print."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it started ends with it
    rows = {table: int(count) for table, _, count in (part.partition("=") for part in options.rows.split(","))}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="etl-bench-", dir="/var/tmp")))
        directory.chmod(0o755)  # the sink's server runs as another user
        sink = stack.enter_context(_postgres(directory / "postgres", free_ports(1)[0]))
        if options.source:
            sources = options.source.split(",")
            if not options.seeded:
                _seed(sources, rows)
        else:
            sources = stack.enter_context(_standins(directory, options.rows))
        print(f"{os.cpu_count()} cores; {len(sources)} shards; {options.pairs} interleaved pairs; source: "
              f"{options.source or 'stand-ins on this machine'}; sink: embedded Postgres on this machine")  # fmt: skip
        for table, count in rows.items():
            if not options.modes and not options.changes:
                _bench(table, count, sources, sink, directory, options)
        if options.modes:
            _bench_modes(rows["narrow"], sources, sink, directory, options)
        if options.changes:
            _bench_changes(rows["narrow"], sources, sink, directory, options)


def _bench(
    table: str, rows: int, sources: Sequence[str], sink: PostgresServer, directory: Path, options: argparse.Namespace
) -> None:
    print(f"\n{table}: {len(sources)} x {rows:,} rows, {len(COLUMNS[table])} columns")
    commands = {"product": _product(table, sources, sink.port, directory)}
    for name in ("bare", "executemany"):
        commands[name] = [sys.executable, "-m", f"benchmarks.{name}", table, ",".join(sources), str(sink.port)]
    if options.no_executemany:
        del commands["executemany"]
    for name in ("bare", "product"):  # a first time that does not count: it fills the caches of both servers
        _measure(commands[name])
    results: dict[str, list[Measured]] = {name: [] for name in commands}
    for number in range(options.pairs):
        for name in ("bare", "product", "executemany"):
            if name in commands and not (name == "executemany" and number >= options.executemany_pairs):
                _settle(sink)
                results[name].append(_measure(commands[name]))
                assert results[name][-1].rows == rows * len(sources), (name, results[name][-1])
    _print_results(results)
    if options.memory:
        measured = _measure(commands["product"], memory=True)
        print(f"  peak memory of the product's processes (PSS, summed): {measured.peak_mb:.0f} MB {measured.parts_mb}")


def _bench_modes(
    rows: int, sources: Sequence[str], sink: PostgresServer, directory: Path, options: argparse.Namespace
) -> None:
    print(f"\nmodes: narrow, {len(sources)} x {rows:,} rows, all of them read")

    def product(table: dict[str, Any]) -> list[str]:
        return _product(f"narrow-{table['mode']}", sources, sink.port, directory, {"source": "dbo.narrow", **table})

    bench_modes(sink, product, _measure, lambda: _settle(sink), options.pairs)


def _bench_changes(
    rows: int, sources: Sequence[str], sink: PostgresServer, directory: Path, options: argparse.Namespace
) -> None:
    print(f"\nchanges of rows: narrow, {len(sources)} x {rows:,} rows")

    def product(table: dict[str, Any], program: str) -> list[str]:
        name = f"narrow-{table['target'].replace('_', '-')}"
        command = _product(name, sources, sink.port, directory, {"source": "dbo.narrow", **table})
        if program:
            (directory / f"pipeline-{name}" / "etl.py").write_text(program)
        return command

    bench_changes(product, _measure, lambda: _settle(sink), options.pairs)


def _settle(sink: PostgresServer) -> None:
    """Have the sink write and vacuum what the last command left, so that the next one does not pay for it."""
    with sink.connect("postgres", "postgres") as connection:
        connection.execute("CHECKPOINT")
        while connection.execute("SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'").fetchone():
            time.sleep(0.2)


def _print_results(results: dict[str, list[Measured]]) -> None:
    bare = [m.seconds for m in results["bare"]]
    for name, measured in results.items():
        seconds = [m.seconds for m in measured]
        ratios = [b / s for b, s in zip(bare, seconds, strict=False)]
        speed = measured[0].rows / statistics.median(seconds)
        print(
            f"  {name:12} {statistics.median(seconds):7.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"
            f" {speed:12,.0f} rows/s  client CPU {statistics.median(m.cpu_s for m in measured):6.2f} s"
            f"  start-up {statistics.median(m.startup_s for m in measured):5.2f} s"
            f"  {statistics.median(ratios):5.2f} of bare ({min(ratios):.2f}-{max(ratios):.2f})"
        )
    if "executemany" in results:
        ratios = [e.seconds / p.seconds for e, p in zip(results["executemany"], results["product"], strict=False)]
        print(f"  product: {statistics.median(ratios):.1f} times executemany")


def _measure(command: Sequence[str], *, memory: bool = False) -> Measured:
    arguments = [sys.executable, "-m", "benchmarks.measure", *(["--memory"] if memory else []), *command]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    measured = json.loads(done.stdout)
    if measured["code"]:
        raise SystemExit(f"{' '.join(command)} ended with {measured['code']}:\n{done.stderr}{measured['out']}")
    told = json.loads(measured["out"])
    seconds = told["seconds"]
    if isinstance(seconds, dict):
        seconds = seconds["copy"] + seconds["apply"]
    return Measured(
        seconds,
        measured["wall_s"] - seconds,
        measured["cpu_s"],
        told.get("rows_loaded", told.get("rows")),
        measured["peak_mb"],
        measured["peak_by_process_mb"] or (),
    )


def _product(
    name: str, sources: Sequence[str], sink_port: int, directory: Path, table: dict[str, Any] | None = None
) -> list[str]:
    """A pipeline of one table, with validation and ledger on as they are by default; the command that runs it."""
    place = directory / f"pipeline-{name}"
    place.mkdir()
    shards = []
    for number, source in enumerate(sources, start=1):
        host, _, port = source.rpartition(":")
        shards.append({"name": f"shard{number}", "host": host, "port": int(port)})
    config: dict[str, Any] = {
        "name": f"bench-{name}",
        "id": "be9c0001",
        "source": {"user": LOGIN[0], "password": LOGIN[1], "database": "sourcedb", "encrypt": False, "shards": shards},
        "sink": {
            "host": "127.0.0.1",
            "port": sink_port,
            "user": "etl_user",
            "password": "etl_password",
            "database": "sinkdb",
        },
        "tables": [table or {"source": f"dbo.{name}"}],
    }
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    return [sys.executable, "-c", "from etl_cli.cli.etl import main; main()", "run", str(place), "--json"]


@contextmanager
def _postgres(directory: Path, port: int) -> Iterator[PostgresServer]:
    server = PostgresServer(directory, port, settings={"shared_buffers": "512MB", "max_wal_size": "8GB"})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _standins(directory: Path, rows: str) -> Iterator[list[str]]:
    ports = free_ports(4)
    environment = {**os.environ, "STANDIN_PASSWORD": LOGIN[1], "BENCH_ROWS": rows}
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:  # one after the other: while it fills its tables each needs several times their size
            servers.append(_standin(port, directory, environment))
            _wait_for(port, servers[-1])
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


def _standin(port: int, directory: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "etl_cli.sandbox.standin", "--port", str(port), "--database", "sourcedb"]
    command += ["--user", LOGIN[0], "--load", "benchmarks.standin_data:fill"]
    with (directory / f"standin-{port}.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            raise SystemExit(f"the stand-in on port {port} ended with {server.returncode}: is there memory enough?")
        time.sleep(0.2)
    raise SystemExit(f"the stand-in on port {port} did not start within {START_TIMEOUT_S} s")


def _seed(sources: Sequence[str], rows: dict[str, int]) -> None:
    for source in sources:
        host, _, port = source.rpartition(":")
        config = ShardConfig(name="bench", host=host, port=int(port))
        settings = SourceConfig.model_validate(
            {"user": LOGIN[0], "password": LOGIN[1], "database": "sourcedb", "encrypt": False, "shards": [config]}
        )
        connection = connect_odbc(Shard(config, settings, ConnectionRetries()))
        for table, count in rows.items():
            connection.execute(f"IF OBJECT_ID(N'dbo.{table}', N'U') IS NOT NULL DROP TABLE dbo.{table}")
            connection.execute(create_source_table(table))
            for statement in insert_statements(table, count):
                connection.execute(statement)
        connection.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", default=DEFAULT_ROWS, help=f"tables and rows a shard, of {', '.join(DEFINITIONS)}")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--executemany-pairs", type=int, default=1, help="it takes a minute each; one is enough")
    parser.add_argument("--no-executemany", action="store_true")
    parser.add_argument("--modes", action="store_true", help="replace beside upsert and sync, and the ledger's share")
    parser.add_argument("--changes", action="store_true", help="a transform and a map beside none")
    parser.add_argument("--source", help="host:port,host:port,...: servers to read from instead of stand-ins")
    parser.add_argument("--seeded", action="store_true", help="the tables are there already")
    parser.add_argument("--memory", action="store_true", help="one more run each, for the peak memory")
    return parser.parse_args()


if __name__ == "__main__":
    main()
