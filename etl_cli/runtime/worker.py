"""A worker's own side: it takes jobs from a pipe, runs their streams, and tells what happens.

What it sends: an int is the count of the source, Moved another batch, ("again", error, seconds) another try,
("advanced", done, total) how far a program is, a text something for the log; Result or an error ends the job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from contextlib import closing
from multiprocessing.connection import Connection, wait

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.job import Result, Watcher, Work
from etl_cli.runtime.kept import Connections
from etl_cli.runtime.progress import Moved


def work(pipe: Connection) -> None:
    """The life of a worker: jobs from the pipe until it closes."""
    # the parent decides what an interrupt means; it reaches the whole process group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with_run()
    watcher = _PipeWatcher(pipe)
    with closing(Connections()) as connections:
        while True:
            try:
                job = pipe.recv()
            except (EOFError, OSError):
                return
            if job is not None:  # else a cancel that came after the job had ended
                watcher.send(_outcome(job, watcher, connections))


def _outcome(job: Work, watcher: Watcher, connections: Connections) -> Result | EtlError:
    try:
        return job.work(watcher, connections)
    except EtlError as error:
        error.trace = traceback.format_exc()
        return error
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        fault = EtlError(f"{job.task.label}: {told}", "this is a fault of etl-cli; --debug shows where")
        fault.trace = traceback.format_exc()
        return fault


class _PipeWatcher(Watcher):
    """Sends what a stream tells to the parent, and hears from it whether to stop."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._latch = threading.Lock()

    def send(self, message: object) -> None:
        """Send one message; `patience` does so from a thread of its own, and a long one is written in parts."""
        with self._latch:
            self._pipe.send(message)

    def expect(self, rows: int) -> None:
        self.send(rows)

    def moved(self, moved: Moved) -> None:
        self.send(moved)

    def retrying(self, error: EtlError, seconds: float) -> None:
        self.send(("again", error, seconds))

    def said(self, text: str) -> None:
        self.send(text)

    def advanced(self, done: float, total: float | None) -> None:
        self.send(("advanced", done, total))

    def is_cancelled(self) -> bool:
        return self._pipe.poll()


def _end_with_run() -> None:
    """End this process when the run's process is gone, however it went.

    `parent.die_with_parent` would not do: to the kernel the parent of a worker is the server it was forked from.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
