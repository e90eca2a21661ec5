"""What a worker tells through its pipe."""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import dataclass

import pytest

from etl_cli.runtime.job import Result, Watcher
from etl_cli.runtime.kept import Connections
from etl_cli.runtime.ledger.ledger import TaskId
from etl_cli.runtime.progress import Moved
from etl_cli.runtime.worker import work

MESSAGES = 300
LENGTHS = (20_000, 150_000)


@dataclass(frozen=True)
class Talking:
    """Tells long texts from two threads at once."""

    task: TaskId
    stream: int = 0

    def work(self, watcher: Watcher, connections: Connections) -> Result:
        threads = [threading.Thread(target=_tell, args=(watcher, length)) for length in LENGTHS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Result(Moved(), None)


def _tell(watcher: Watcher, length: int) -> None:
    for _ in range(MESSAGES):
        watcher.said("x" * length)


@pytest.mark.timeout(60)
def test_what_two_threads_tell_at_once_arrives_whole() -> None:
    """`patience` tells from a thread of its own; a long message is written in parts."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            ours.send(Talking(TaskId(1, "dbo.orders", "shard1")))
            heard = [len(ours.recv()) for _ in range(MESSAGES * len(LENGTHS))]
            assert ours.recv() == Result(Moved(), None)
    finally:
        process.kill()
        process.join()
    assert sorted(heard) == [LENGTHS[0]] * MESSAGES + [LENGTHS[1]] * MESSAGES
