"""Runs streams, and members of own sources, in processes of their own, one task after the other in each.

A process for each stream, because the driver takes the interpreter's lock again for every 64 rows
(for every row of a table with large objects), which streams in one process would wait for. The
processes are forked from a small server that has imported everything and nothing else, so they share
its memory; a crash in a driver costs one task and is told like any other failure.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import ModuleType

from etl_cli.runtime.errors import SourceError
from etl_cli.runtime.events import Advanced, Done, Event, Expected, Failed, Progressed, Retried, Said, Started
from etl_cli.runtime.job import CancelledError, Result, Work
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.worker import work

_CLOSE_S = 5.0
_STARTING = threading.Lock()
"""Steps of a run start workers in threads of their own, and starting one takes the main module away for a moment."""

PRELOADED = ["etl_cli.runtime.worker", "etl_cli.runtime.preload"]
"""What the server imports before it forks; the run's own process needs neither Arrow nor its reader."""


@dataclass
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    job: Work | None = None
    cancelled: bool = field(default=False)
    shard: str | None = None
    """To which it still has a connection."""


class Pool:
    """Up to `size` workers; jobs of one shard run at most `per_shard` at a time."""

    def __init__(self, size: int, per_shard: int, grace_s: float) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._size = size
        self._per_shard = per_shard
        self._grace_s = grace_s
        self._workers: list[_Worker] = []
        self._cancelled_at: float | None = None
        self._left_out: set[TaskId] = set()
        self._later: list[tuple[float, Work]] = []
        """What is tried again, and when."""

    def run(self, jobs: Sequence[Work]) -> Iterator[Event]:
        """Run all jobs, in order as far as shards allow; yields what happens. `again` adds one meanwhile.

        After `cancel`, jobs that have not begun are left out and those at work end with Failed.
        """
        waiting = deque(jobs)
        while True:
            waiting += self._due()
            yield from self._dispatch(waiting)
            busy = [worker for worker in self._workers if worker.job is not None]
            if not busy and not self._later:
                return
            by_pipe: dict[object, _Worker] = {worker.pipe: worker for worker in busy}
            for pipe in self._wait([worker.pipe for worker in busy]):
                yield from self._received(by_pipe[pipe])
            self._kill_the_deaf()

    def again(self, job: Work, seconds: float) -> None:
        """Run a job, as one that has failed, once so many seconds have passed."""
        self._later.append((time.monotonic() + seconds, job))

    def cancel(self, task: TaskId | None = None) -> None:
        """Ask every worker to stop at its next batch, or those of one task.

        A whole cancel is hard in the end: a worker that has not stopped after `grace_s` is killed.
        """
        if task is None:
            self._cancelled_at = self._cancelled_at or time.monotonic()
        else:
            self._left_out.add(task)
        for worker in self._workers:
            if worker.job is not None and not worker.cancelled and task in (None, worker.job.task):
                worker.cancelled = True
                with contextlib.suppress(OSError):
                    worker.pipe.send(None)

    @property
    def is_cancelled(self) -> bool:
        """Whether everything was asked to stop."""
        return self._cancelled_at is not None

    def close(self) -> None:
        """End the workers: those at work are killed, their transactions roll back."""
        for worker in self._workers:
            if worker.job is not None:
                worker.process.kill()
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(_CLOSE_S)
            if worker.process.is_alive():
                worker.process.kill()  # its driver does not come back from closing the connection
                worker.process.join()
        self._workers = []

    def _due(self) -> list[Work]:
        now = time.monotonic()
        if self._cancelled_at is not None:
            self._later.clear()
        due = [job for at, job in self._later if at <= now]
        self._later = [(at, job) for at, job in self._later if at > now]
        return due

    def _wait(self, pipes: Sequence[Connection]) -> Sequence[object]:
        """For what a worker tells, for what is due again, for a cancel; at most a second."""
        until = [max(0.0, at - time.monotonic()) for at, _ in self._later]
        return wait(pipes, timeout=min([1.0, *until]))

    def _dispatch(self, waiting: deque[Work]) -> Iterator[Event]:
        if self._cancelled_at is not None:
            waiting.clear()
        for job in list(waiting):
            if job.task in self._left_out:
                waiting.remove(job)
                yield Failed(job, CancelledError(f"{job.task.label} was left out"))
                continue
            at_work = [w.job.task.shard for w in self._workers if w.job is not None]
            if len(at_work) >= self._size:
                return
            if at_work.count(job.task.shard) >= self._per_shard:
                continue
            waiting.remove(job)
            worker = self._idle(job.task.shard)
            worker.job, worker.cancelled, worker.shard = job, False, job.task.shard
            worker.pipe.send(job)
            yield Started(job)

    def _kill_the_deaf(self) -> None:
        """End workers that wait for a server and cannot hear; their chunk rolls back."""
        if self._cancelled_at is not None and time.monotonic() - self._cancelled_at > self._grace_s:
            for worker in self._workers:
                if worker.job is not None:
                    worker.process.kill()

    def _idle(self, shard: str) -> _Worker:
        """One that is connected to the shard already, before any other: so the shard sees no more connections."""
        idle = [worker for worker in self._workers if worker.job is None]
        if idle:
            return next((worker for worker in idle if worker.shard == shard), idle[0])
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs,), daemon=True, name="etl-stream")
        with _STARTING, _no_main_module(), _interrupts_ignored():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _received(self, worker: _Worker) -> Iterator[Event]:
        assert worker.job is not None
        job = worker.job
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield self._lost(worker, job)
            return
        if isinstance(message, int):
            yield Expected(job, message)
        elif isinstance(message, Moved):
            yield Progressed(job, message)
        elif isinstance(message, tuple):
            what, *told = message
            yield Advanced(job, *told) if what == "advanced" else Retried(job, *told)
        elif isinstance(message, str):
            yield Said(job, message)
        else:
            worker.job = None
            yield Done(job, message) if isinstance(message, Result) else Failed(job, message)

    def _lost(self, worker: _Worker, job: Work) -> Failed:
        """The worker died: a crash in a driver, or the out-of-memory killer."""
        worker.process.join()
        self._workers.remove(worker)
        if self._cancelled_at is not None:
            return Failed(job, CancelledError(f"{job.task.label} was cancelled"))
        code = worker.process.exitcode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return Failed(
            job,
            SourceError(
                f"{job.task.label}: the reading process ended {how}",
                "its chunk was rolled back; look for the out-of-memory killer in `journalctl -k`, then run again",
                shard=job.task.shard,
            ),
        )


def warm_up() -> None:
    """Start the server that workers are forked from, so that it imports while the run is planned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with _interrupts_ignored():
        forkserver.ensure_running()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What is started meanwhile ignores Ctrl-C from its first moment; this process decides what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep multiprocessing from importing the program's main module in every worker."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
