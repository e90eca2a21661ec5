"""A stand-in in a child process: for parallel work, and for callers that hold the GIL while they wait for it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from etl_cli.sandbox.standin.control import ControlClient
from etl_cli.sandbox.standin.server import PASSWORD_VARIABLE, odbc_string

STOP_S = 10.0


class StandInProcess:
    """`with StandInProcess(load="module:function") as server:` starts one and stops it behind the block.

    The child ends when its parent does. load: "module:function" or "file.py:function", called with the database
    (a DatabaseHandle) and load_options as keywords, before the port is told. Further options as StandIn's.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        database: str = "sourcedb",
        user: str = "sa",
        password: str | None = None,
        encryption: str = "optional",
        allow_snapshot: bool = True,
        cache_mb: int = 1024,
        load: str | None = None,
        load_options: dict[str, Any] | None = None,
        script: str | Path | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        self.host = "127.0.0.1"
        self.database = database
        self.user = user
        self.password = password or secrets.token_urlsafe(12) + "aA1."
        self.port = port
        self.certificate_pem = b""
        self._start_timeout_s = start_timeout_s
        self._directory = tempfile.TemporaryDirectory(prefix="standin-")
        self._control_path = str(Path(self._directory.name) / "control")
        self._arguments = [
            "--port", str(port), "--database", database, "--user", user, "--encryption", encryption,
            "--cache-mb", str(cache_mb), "--control", self._control_path, "--end-with-stdin",
            *([] if allow_snapshot else ["--no-snapshot"]),
            *(["--load", load, "--load-options", json.dumps(load_options or {})] if load else []),
            *(["--script", str(script)] if script else []),
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._client: ControlClient | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the child and wait until it listens; RuntimeError when it ends before that."""
        environment = {**os.environ, PASSWORD_VARIABLE: self.password}
        paths = [str(Path(__file__).parents[3]), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "etl_cli.sandbox.standin", *self._arguments],
            text=True,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the stand-in's process ended before it listened: see its messages above")
        told = json.loads(line)
        self.port = told["port"]
        self.certificate_pem = told["certificate"].encode()
        self._client = ControlClient(self._control_path)

    def stop(self) -> None:
        """End the child: by closing its input, by force when it does not go."""
        if self._client is not None:
            self._client.close()
        process = self._process
        if process is not None:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._directory.cleanup()

    def kill(self) -> None:
        """Kill the child at once: its connections are reset."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def call(self, do: str, **arguments: Any) -> Any:
        """Send a control request: drop, stall, error, slow_rows, refuse_logins, clear, counters, execute, pause, ..."""
        assert self._client is not None
        return self._client.call(do, **arguments)

    def execute(self, sql: str) -> None:
        """Run a batch as sa; ControlError with SQL Server's number when it fails."""
        self.call("execute", sql=sql)

    def expire_changes(self, table: str) -> int:
        """Clean a tracked table's changes up to now, as if the retention had passed; return its min valid version."""
        return int(self.call("expire_changes", table=table))

    def hold(self, sql: str) -> int:
        """Run a batch in a transaction that stays open until release() is given the number returned."""
        return int(self.call("hold", sql=sql))

    def release(self, number: int, *, commit: bool = True) -> None:
        """Commit or roll back what hold() left open."""
        self.call("release", number=number, commit=commit)

    def connection_string(self, driver: str = "", **options: str) -> str:
        """Return an ODBC connection string for this server."""
        return odbc_string(driver, self.host, self.port, self.database, self.user, self.password, options)
