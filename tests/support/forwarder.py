"""A TCP port in front of a server, which a test can close and open again: the server is away, and comes back."""

from __future__ import annotations

import contextlib
import socket
import threading


class Forwarder:
    """Forwards connections to 127.0.0.1:`target` while it is open; its own port stays the same."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._ends: list[socket.socket] = []
        self._latch = threading.Lock()
        self.port = 0
        self.open()

    def open(self) -> None:
        """Listen."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those that there are."""
        if self._listener is not None:
            _cut(self._listener)
        self._listener = None
        with self._latch:
            for end in self._ends:
                _cut(end)
            self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._latch:
                self._ends += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=[source, target], daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        _cut(end)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
