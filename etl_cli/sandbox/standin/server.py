"""The listening server: an instance, its faults and counters, a thread a connection."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from types import TracebackType
from typing import Self

from etl_cli.sandbox.standin.connection import Connection
from etl_cli.sandbox.standin.counters import Counters
from etl_cli.sandbox.standin.faults import Faults
from etl_cli.sandbox.standin.handle import DatabaseHandle
from etl_cli.sandbox.standin.instance import Instance
from etl_cli.sandbox.standin.wire import tls
from etl_cli.sandbox.standin.wire.login import ENCRYPTION_MODES

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEFAULT_PASSWORD = "Stand-In.2022"
PASSWORD_VARIABLE = "STANDIN_PASSWORD"
BACKLOG = 128
JOIN_S = 5.0


def odbc_string(
    driver: str, host: str, port: int, database: str, user: str, password: str, options: dict[str, str]
) -> str:
    """Return an ODBC connection string; an empty part is left out."""
    parts = {"DRIVER": driver, "SERVER": f"{host},{port}", "DATABASE": database, "UID": user, "PWD": password}
    return ";".join(f"{key}={value}" for key, value in (parts | options).items() if value)


class StandIn:
    """One SQL Server stand-in; `with StandIn(port=0) as server:` listens until the block ends.

    encryption: none, login, optional (what the client asks), required. cache_bytes bounds the encoded rows kept.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        database: str = "sourcedb",
        user: str = "sa",
        password: str | None = None,
        encryption: str = "optional",
        allow_snapshot: bool = True,
        cache_bytes: int = 1 << 30,
    ) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"host {host} is not the loopback; the stand-in is for this machine only")
        if encryption not in ENCRYPTION_MODES:
            raise ValueError(f"encryption {encryption} is none of {', '.join(ENCRYPTION_MODES)}")
        self.host = host
        self.port = port
        self.user = user
        self.password = password or os.environ.get(PASSWORD_VARIABLE) or DEFAULT_PASSWORD
        self.encryption = encryption
        self.instance = Instance(user, self.password, allow_snapshot=allow_snapshot)
        made = self.instance.create_database(database)
        made.scans.limit_bytes = cache_bytes
        self.database = DatabaseHandle(self.instance, made)
        self.counters = Counters()
        self.faults = Faults()
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._latch = threading.Lock()
        self._acceptor: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; self.port is the real port from now on."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(BACKLOG)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), name="standin-accept", daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Close the listener and all connections, and wait for their threads."""
        self.faults.resume()
        self.instance.closing.set()
        if self._listener is not None:
            _shut(self._listener)
            self._listener.close()
        with self._latch:
            open_ones = list(self._connections.items())
        for connected, _ in open_ones:
            _shut(connected)
        for thread in [self._acceptor, *(thread for _, thread in open_ones)]:
            if thread is not None and thread is not threading.current_thread():
                thread.join(JOIN_S)

    def handle(self, database: str) -> DatabaseHandle:
        """Another of its databases, as a test holds it."""
        return DatabaseHandle(self.instance, self.instance.database(database))

    def expire_changes(self, table: str) -> int:
        """Clean a tracked table's changes up to now, as if the retention had passed; return its min valid version."""
        return self.database.expire_changes(table)

    @property
    def certificate_pem(self) -> bytes:
        """The server's certificate, for ServerCertificate=FILE: strict encryption trusts nothing else."""
        return tls.self_signed().certificate

    def connection_string(self, driver: str = "", **options: str) -> str:
        """Return an ODBC connection string for this server."""
        return odbc_string(driver, self.host, self.port, self.database.name, self.user, self.password, options)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            if self.faults.refuses_connection():
                connected.close()
                continue
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connected,), name="standin-connection", daemon=True)
            with self._latch:
                self._connections[connected] = thread
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        self.counters.connected(1)
        try:
            Connection(self, connected).serve()
        finally:
            self.counters.connected(-1)
            with self._latch:
                self._connections.pop(connected, None)


def _shut(open_socket: socket.socket) -> None:
    with contextlib.suppress(OSError):
        open_socket.shutdown(socket.SHUT_RDWR)
