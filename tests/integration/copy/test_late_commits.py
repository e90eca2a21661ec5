"""Writers that commit out of order, commits that come too late, statements whose client is dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from etl_cli.runtime.source.bounds import Bounds
from tests.support.copying import CHANGING, Make, moment, rows_of
from tests.support.database import SinkDatabase
from tests.support.source import Shards

RUNS = 10


def ten_runs(shards: Shards, directory: Any) -> None:
    """Before each run a session writes and does not commit, and another writes later and does; then the first does."""
    for number in range(RUNS):
        early, late = 2 * number, 2 * number + 1
        connection = shards[0].connect()
        connection.autocommit = False
        insert = "INSERT INTO dbo.orders (id, note, updated_at) VALUES"
        connection.execute(f"{insert} ({early}, N'late', {moment(early)})")
        shards[0].execute(f"{insert} ({late}, N'in time', {moment(late)})")
        directory.run()
        connection.commit()
        connection.close()
    directory.run()


def arrived(sink: SinkDatabase) -> list[tuple[Any, ...]]:
    return rows_of(sink, "SELECT count(*), count(DISTINCT id) FROM orders")


@pytest.mark.parametrize(("lookback", "lost"), [("1h", 0), ("0s", RUNS)])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_ten_runs_beside_a_writer_that_commits_out_of_order_lose_nothing_with_the_lookback(
    mode: str, lookback: str, lost: int, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 3: and without it they lose every row that committed late."""
    shards.execute(CHANGING)
    ten_runs(shards, pipeline({"source": "dbo.orders", "mode": mode, "cursor": "updated_at", "lookback": lookback}))
    assert arrived(sink) == [(2 * RUNS - lost,) * 2]


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_ten_runs_along_a_rowversion_lose_nothing_with_the_bound(
    mode: str, bounded: bool, shards: Shards, sink: SinkDatabase, pipeline: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 3: MIN_ACTIVE_ROWVERSION() is the bound; the highest version that is there would lose every late row."""
    shards.execute(CHANGING)
    if not bounded:
        monkeypatch.setattr(Bounds, "highest_cursor", _highest_there)
    ten_runs(shards, pipeline({"source": "dbo.orders", "mode": mode, "cursor": "version"}))
    assert arrived(sink) == [(2 * RUNS if bounded else RUNS,) * 2]


def _highest_there(bounds: Bounds, plan: Any) -> str | None:
    row = bounds._row(plan, "SELECT CONVERT(varchar(18), CAST(MAX(version) AS binary(8)), 1) FROM dbo.orders")
    return row[0] if row else None


def test_a_statement_whose_client_is_killed_ends_within_seconds(sink: SinkDatabase) -> None:
    program = (
        "import sys\nfrom etl_cli.runtime.config.databases import ConnectionRetries, SinkConfig\n"
        "from etl_cli.runtime.sink.connect import Sink, connect_sink\n"
        "config = SinkConfig.model_validate_json(sys.argv[1])\n"
        "connect_sink(Sink(config, ConnectionRetries()), 'etl-cli dead').execute('SELECT pg_sleep(120)')\n"
    )
    config = (
        f'{{"host": "{sink.host}", "port": {sink.port}, "user": "{sink.user}", "password": "{sink.password}",'
        f' "database": "{sink.database}"}}'
    )
    process = subprocess.Popen([sys.executable, "-c", program, config])
    at_work = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'etl-cli dead' AND state = 'active'"
    try:
        _until(lambda: rows_of(sink, at_work) == [(1,)], 30)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    _until(lambda: rows_of(sink, at_work) == [(0,)], 15)


def _until(condition: Any, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
