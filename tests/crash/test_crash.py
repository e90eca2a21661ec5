"""Kills a run at a random moment, resumes it, and compares the target with the source, cell by cell.

ETL_CRASH_TRIALS says how often for each mode and each way (default 1); `scripts/crash` is the long run, 20 of each.
A failure tells its seed: ETL_CRASH_SEED repeats it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from tests.support.copying import Make, leftovers, rows_of
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

TRIALS = int(os.environ.get("ETL_CRASH_TRIALS", "1"))
SEED = int(os.environ.get("ETL_CRASH_SEED", str(int(time.time()))))
ROWS = 3_000
CHANGED = 1_500
MODES = ("replace", "append", "upsert", "sync", "changes")
LONGEST_S = 2.5

TABLE = (
    "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL, amount decimal(18,4) NOT NULL,"
    " blob varbinary(16) NULL, updated_at datetime2(7) NOT NULL)"
)


@dataclass
class Trial:
    """A run that is disturbed once."""

    directory: PipelineDirectory
    process: subprocess.Popen[str]
    sink: SinkDatabase
    shards: Shards
    chance: random.Random


def kill_run(trial: Trial) -> None:
    """The run's own process."""
    trial.process.send_signal(signal.SIGKILL)


def kill_worker(trial: Trial) -> None:
    """One of the processes that read."""
    with contextlib.suppress(psutil.Error):
        below = psutil.Process(trial.process.pid).children(recursive=True)
        if below:
            trial.chance.choice(below).kill()


def end_backends(trial: Trial) -> None:
    """All of the run's sessions in the sink, or only those that load."""
    pattern = trial.chance.choice(["etl-cli%", "etl-cli% run % dbo.%"])
    with trial.sink.connect(SUPERUSER) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE %s",
            [pattern],
        )


def stop_run(trial: Trial) -> None:
    """A stop in order."""
    trial.process.send_signal(signal.SIGTERM)


def cut_source(trial: Trial) -> None:
    """The link to one shard, at its next rows."""
    standin = trial.chance.choice(trial.shards.all).server.standin
    assert standin is not None
    after = trial.chance.randrange(0, CHANGED)
    standin.faults.drop(
        "orders", after_rows=after, how=trial.chance.choice(["rst", "fin"]), within_row=trial.chance.random() < 0.3
    )


WAYS: dict[str, Callable[[Trial], None]] = {
    "run": kill_run,
    "worker": kill_worker,
    "backends": end_backends,
    "stop": stop_run,
    "source": cut_source,
}


@pytest.mark.parametrize("trial", range(TRIALS))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_moment_loses_doubles_and_alters_nothing(
    mode: str, way: str, trial: int, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Traps 2, 19 and 21."""
    if shards[0].server.standin is None:
        pytest.skip("the shards are filled and disturbed through the stand-in")
    chance = random.Random(f"{SEED} {mode} {way} {trial}")
    directory = _prepared(mode, shards, sink, pipeline)
    process = subprocess.Popen(
        directory.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    disturbed = Trial(directory, process, sink, shards, chance)
    if way != "source":
        _wait_for_the_run(sink, process)
        time.sleep(chance.uniform(0, LONGEST_S) ** 2 / LONGEST_S)
    WAYS[way](disturbed)
    _, err = process.communicate(timeout=120)
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.clear()
    told = f"seed {SEED}, exit {process.returncode}: {err}"
    if process.returncode != 0:
        _resume(directory, told)
    assert _in_sink(sink) == _in_source(shards), told
    assert leftovers(sink) == [], told
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ ' run '"
    assert rows_of(sink, sessions) == [(0,)], told


def _prepared(mode: str, shards: Shards, sink: SinkDatabase, pipeline: Make) -> PipelineDirectory:
    """A pipeline that has run once, over a source that has changed since."""
    shards.execute(TABLE)
    table: dict[str, Any] = {"source": "dbo.orders", "mode": mode, "chunk_rows": 300}
    if mode in ("append", "upsert"):
        table["cursor"] = "id" if mode == "append" else "updated_at"
    if mode == "changes":
        for shard in shards:
            shard.execute(
                f"ALTER DATABASE {shard.database} SET CHANGE_TRACKING = ON",
                "ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING",
            )
    _load(shards, 0, ROWS)
    directory = pipeline(table, connection={"retries": 2, "retry_delay": "50ms", "timeout": "5s"})
    assert directory.cli("run").code == 0
    _load(shards, ROWS, ROWS + CHANGED)
    if mode != "append":
        shards.execute(
            "UPDATE dbo.orders SET amount = amount + 1, note = N'changed', updated_at = '2027-01-01' WHERE id % 3 = 0"
        )
    if mode in ("replace", "sync", "changes"):
        shards.execute("DELETE FROM dbo.orders WHERE id % 5 = 1")
    return directory


def _load(shards: Shards, start: int, end: int) -> None:
    for shard in shards:
        assert shard.server.standin is not None
        numbers = range(start, end)
        shard.server.standin.handle(shard.database).load_columns(
            "dbo.orders",
            {
                "id": list(numbers),
                "note": [None if n % 7 == 0 else f"{shard.name} {n} ü" for n in numbers],
                "amount": [f"{n}.{n % 10_000:04d}" for n in numbers],
                "blob": [None if n % 11 == 0 else n.to_bytes(8, "big") for n in numbers],
                "updated_at": [f"2026-01-01 {n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}.{n:07d}" for n in numbers],
            },
        )


def _wait_for_the_run(sink: SinkDatabase, process: subprocess.Popen[str]) -> None:
    """Until it has begun in the ledger: before that there is nothing to disturb."""
    while process.poll() is None:
        if rows_of(sink, "SELECT count(*) FROM etl.runs")[0][0] > 1:
            return
        time.sleep(0.01)


def _resume(directory: PipelineDirectory, told: str) -> None:
    tries = []
    for _ in range(3):
        done = directory.cli("run", "--resume")
        if done.code == 0:
            return
        tries.append(done.err)
    raise AssertionError(f"{told}; resumed in vain: {tries}")


def _in_source(shards: Shards) -> list[tuple[Any, ...]]:
    rows = []
    for shard in shards:
        connection = shard.connect()
        query = "SELECT id, note, amount, blob, CONVERT(varchar(27), updated_at, 121) FROM dbo.orders"
        rows += [(*row[:4], row[4][:26], shard.name) for row in connection.execute(query).fetchall()]
        connection.close()
    return sorted(rows, key=lambda row: (row[5], row[0]))


def _in_sink(sink: SinkDatabase) -> list[tuple[Any, ...]]:
    query = "SELECT id, note, amount, blob, to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US'), shard FROM orders"
    return sorted(rows_of(sink, query), key=lambda row: (row[5], row[0]))
