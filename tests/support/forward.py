"""A way to a server that a test can close and open again."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType


class Forwarder:
    """Listens on `port` of 127.0.0.1 and passes everything on; closed, it ends what is open and refuses the rest."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_open = True
        self._ended = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Forwarder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended = True
        self.close()
        self._listener.close()

    def open(self) -> None:
        self._is_open = True

    def close(self) -> None:
        self._is_open = False
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._ended:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            if not self._is_open:
                ours.close()
                continue
            theirs = socket.create_connection(self._to)
            self._pairs.append((ours, theirs))
            threading.Thread(target=_pass_on, args=(ours, theirs), daemon=True).start()


def _pass_on(ours: socket.socket, theirs: socket.socket) -> None:
    with ours, theirs, selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ, theirs)
        selector.register(theirs, selectors.EVENT_READ, ours)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                try:
                    data = source.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)
                except OSError:
                    return
