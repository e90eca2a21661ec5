"""Four SQL Server stand-ins and an embedded Postgres, in a directory of their own: up, status, down."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pyodbc
from pydantic import SecretStr

from etl_cli.runtime.config.databases import ConnectionRetries, ShardConfig, SourceConfig
from etl_cli.runtime.errors import EtlError, UsageError
from etl_cli.runtime.source.connect import Shard, connect_odbc
from etl_cli.sandbox import shop
from etl_cli.sandbox.postgres import PostgresServer
from etl_cli.sandbox.processes import Process, start

SHARDS = 4
PORT_BASE = 1433
SINK_PORT = 5432
USER = "sa"
PASSWORD = "YourStrong@Passw0rd"
DATABASE = "sourcedb"
START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Service:
    """One of the sandbox's servers, and whether it runs."""

    name: str
    address: str
    running: bool
    pid: int | None


@dataclass(frozen=True)
class Sandbox:
    """A sandbox in `directory`."""

    directory: Path
    port_base: int = PORT_BASE
    sink_port: int = SINK_PORT

    @property
    def source_ports(self) -> range:
        """The ports of the stand-ins."""
        return range(self.port_base, self.port_base + SHARDS)

    @property
    def postgres(self) -> PostgresServer:
        """The embedded Postgres."""
        return PostgresServer(self.directory / "postgres", self.sink_port)

    def environment(self) -> dict[str, str]:
        """The variables by which a generated pipeline finds this sandbox, where its ports are not the usual ones."""
        variables = {f"SHARD{n}_PORT": str(port) for n, port in enumerate(self.source_ports, start=1)}
        usual = {f"SHARD{n}_PORT": str(PORT_BASE + n - 1) for n in range(1, SHARDS + 1)} | {
            "SINK_DB_PORT": str(SINK_PORT)
        }
        variables["SINK_DB_PORT"] = str(self.sink_port)
        return {name: value for name, value in variables.items() if usual[name] != value}

    def up(self) -> None:
        """Start what does not run yet, and seed the stand-ins that were started.

        Raises EtlError where a port is taken or a server does not start; what was started stops again.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_state()
        running = self._processes()
        fresh = [n for n in range(1, SHARDS + 1) if not (running.get(n) and running[n].is_alive())]
        for number in fresh:
            _refuse_taken(self.source_ports[number - 1])
        try:
            self.postgres.start()
            for number in fresh:
                running[number] = self._start_standin(number)
                self._write_processes(running)
            with ThreadPoolExecutor(max_workers=SHARDS) as threads:
                list(threads.map(self._seed, fresh))
        except BaseException:
            self.down()
            raise

    def down(self, *, purge: bool = False) -> None:
        """Stop all servers; `purge` removes their data as well."""
        for process in self._processes().values():
            process.stop()
        self._write_processes({})
        self.postgres.stop()
        if purge:
            self._remove()

    def _remove(self) -> None:
        """Remove what a sandbox makes; the directory itself only where nothing else is in it."""
        shutil.rmtree(self.postgres.directory, ignore_errors=True)
        for name in ("ports.json", "processes.json", *(f"shard{n}.log" for n in range(1, SHARDS + 1))):
            (self.directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def status(self) -> list[Service]:
        """Each server, and whether it runs."""
        processes = self._processes()
        services = []
        for number, port in enumerate(self.source_ports, start=1):
            process = processes.get(number)
            alive = process is not None and process.is_alive()
            services.append(
                Service(f"shard{number}", f"127.0.0.1:{port}", alive, process.pid if process and alive else None)
            )
        pid = self.postgres.pid()
        return [*services, Service("postgres", f"127.0.0.1:{self.sink_port}", pid is not None, pid)]

    def _start_standin(self, number: int) -> Process:
        command = [sys.executable, "-m", "etl_cli.sandbox.standin", "--port", str(self.source_ports[number - 1])]
        command += ["--database", DATABASE, "--user", USER]
        log = self.directory / f"shard{number}.log"
        return start(command, log, {"STANDIN_PASSWORD": PASSWORD})

    def _seed(self, number: int) -> None:
        port = self.source_ports[number - 1]
        try:
            _wait_for(port)
        except EtlError as error:
            log = (self.directory / f"shard{number}.log").read_text(errors="replace").splitlines()
            raise EtlError(error.message, log[-1] if log else "its log is empty") from error
        seed_server("127.0.0.1", port, number)

    def _processes(self) -> dict[int, Process]:
        try:
            data = json.loads((self.directory / "processes.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return {int(number): Process(**process) for number, process in data.items()}

    def _write_processes(self, processes: dict[int, Process]) -> None:
        data = {str(number): asdict(process) for number, process in processes.items()}
        (self.directory / "processes.json").write_text(json.dumps(data))

    def _write_state(self) -> None:
        (self.directory / "ports.json").write_text(
            json.dumps({"port_base": self.port_base, "sink_port": self.sink_port})
        )


def open_sandbox(directory: Path) -> Sandbox:
    """The sandbox that was started in `directory`. Raises UsageError where there is none."""
    try:
        ports = json.loads((directory / "ports.json").read_text())
    except (FileNotFoundError, ValueError):
        raise UsageError(f"no sandbox in {directory}", "start one with: etl-cli sandbox up") from None
    return Sandbox(directory, **ports)


def seed_server(
    host: str, port: int, number: int, *, user: str = USER, password: str = PASSWORD, portable_only: bool = False
) -> None:
    """Create the database where there is none, and the shop in it, as shard number `number`.

    Raises SourceError where the server cannot be reached.
    """
    with _connected(host, port, "master", user, password) as connection:
        connection.execute(f"IF DB_ID(N'{DATABASE}') IS NULL CREATE DATABASE {DATABASE}")
    with _connected(host, port, DATABASE, user, password) as connection:
        shop.seed(connection, number, portable_only=portable_only)


def parse_addresses(text: str) -> list[tuple[str, int]]:
    """`host:port,host:port` as pairs. Raises UsageError."""
    pairs = []
    for part in text.split(","):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"{part!r} is not an address", "write host:port, several with commas between")
        pairs.append((host, int(port)))
    return pairs


def _connected(host: str, port: int, database: str, user: str, password: str) -> pyodbc.Connection:
    shard = ShardConfig(name=f"{host}.{port}", host=host, port=port)
    source = SourceConfig(
        user=user, password=SecretStr(password), database=database, trust_server_certificate=True, shards=[shard]
    )
    return connect_odbc(Shard(shard, source, ConnectionRetries()))


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise EtlError(f"the stand-in on port {port} did not start within {START_TIMEOUT_S:.0f} s")


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise EtlError(
                f"port {port} is taken", "stop what listens there, or choose others with --port-base"
            ) from None


def free_ports(count: int) -> Sequence[int]:
    """Ports that nobody listens on at this moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
