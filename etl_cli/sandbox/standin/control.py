"""The control socket: one JSON object a line in, one a line out; the same names as the Python API.

{"do": "drop", "table": "dbo.orders", "after_rows": 100}  ->  {"ok": true, "result": {...}}
Over TCP every request carries "password"; a unix socket is guarded by its file's mode.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.faults import Order

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.server import StandIn

LOOPBACK = "127.0.0.1"
SOCKET_MODE = 0o600


class ControlServer:
    """Serves control requests; address is a port of the loopback or the path of a unix socket."""

    def __init__(self, server: StandIn, address: int | str) -> None:
        self.server = server
        self.address = address
        self.stopped = threading.Event()
        faults, database = server.faults, server.database
        self._commands: dict[str, Callable[..., Any]] = {
            "ping": lambda: "pong", "drop": faults.drop, "stall": faults.stall, "error": faults.error,
            "slow_rows": faults.slow_rows, "refuse_logins": faults.refuse_logins, "clear": faults.clear,
            "faults": faults.listed, "pause": faults.pause, "resume": faults.resume,
            "counters": server.counters.snapshot, "reset_counters": server.counters.reset,
            "execute": database.execute, "row_count": database.row_count, "memory": database.memory,
            "expire_changes": database.expire_changes, "hold": database.hold, "release": database.release,
            "open_transactions": lambda: database.open_transactions, "stop": lambda: self.stopped.set(),
        }  # fmt: skip
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        if isinstance(self.address, int):
            listener = socket.create_server((LOOPBACK, self.address))
            self.address = listener.getsockname()[1]
            return listener
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        os.chmod(self.address, SOCKET_MODE)
        listener.listen()
        return listener

    def start(self) -> None:
        """Serve in threads of its own."""
        threading.Thread(target=self._accept, name="standin-control", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket's file."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if isinstance(self.address, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        with connected, connected.makefile("rw", encoding="utf-8") as stream, contextlib.suppress(OSError):
            for line in stream:
                stream.write(json.dumps(self._answer(line)) + "\n")
                stream.flush()

    def _answer(self, line: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            password = request.pop("password", None)
            if isinstance(self.address, int) and password != self.server.password:
                return {"ok": False, "error": "wrong password"}
            result = self._commands[request.pop("do")](**request)
        except SqlError as error:
            return {"ok": False, "error": error.message, "number": error.number}
        except Exception as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}
        if isinstance(result, Order):
            result = {key: value for key, value in asdict(result).items() if key != "until"}
        return {"ok": True, "result": result}


class ControlError(Exception):
    """A control request was refused; number is SQL Server's when it was SQL that failed."""

    def __init__(self, message: str, number: int | None = None) -> None:
        self.number = number
        super().__init__(message)


class ControlClient:
    """The other end; every method of the control socket by name: client.call("drop", table="dbo.t", after_rows=5)."""

    def __init__(self, address: int | str, password: str = "", timeout_s: float = 30.0) -> None:
        self._password = password
        if isinstance(address, int):
            self._socket = socket.create_connection((LOOPBACK, address), timeout_s)
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(timeout_s)
            self._socket.connect(address)
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        self._latch = threading.Lock()

    def call(self, do: str, **arguments: Any) -> Any:
        """Send a request and return its result; ControlError when it is refused."""
        with self._latch:
            self._stream.write(json.dumps({"do": do, "password": self._password, **arguments}) + "\n")
            self._stream.flush()
            answer = json.loads(self._stream.readline() or '{"ok": false, "error": "the stand-in has ended"}')
        if not answer["ok"]:
            raise ControlError(answer["error"], answer.get("number"))
        return answer.get("result")

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()
