"""Hears the signals of the service's process in its loop, never in the middle of something."""

from __future__ import annotations

import selectors
import signal
import socket
from collections.abc import Callable


class Signals:
    """The selector calls `on_stop` for SIGTERM and SIGINT, `on_reload` for SIGHUP; a child's end just wakes it."""

    def __init__(
        self, selector: selectors.BaseSelector, on_stop: Callable[[], None], on_reload: Callable[[], None]
    ) -> None:
        self._on_stop = on_stop
        self._on_reload = on_reload
        self._ours, self._theirs = socket.socketpair()
        for end in (self._ours, self._theirs):
            end.setblocking(False)
        signal.set_wakeup_fd(self._theirs.fileno())
        selector.register(self._ours, selectors.EVENT_READ, self._hear)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def _hear(self) -> None:
        for number in self._ours.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._on_stop()
            elif number == signal.SIGHUP:
                self._on_reload()
