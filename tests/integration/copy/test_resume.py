"""Runs that are stopped, killed or cut off go on after their last committed chunk."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import Make, leftovers, rows_of
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

ROWS = 6_000


@pytest.fixture
def big(shards: Shards) -> Shards:
    if shards[0].server.standin is None:
        pytest.skip("a real server cannot be slowed to order")
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)")
    for shard in shards:
        assert shard.server.standin is not None
        handle = shard.server.standin.handle(shard.database)
        handle.load_columns("dbo.orders", {"id": list(range(ROWS)), "note": [f"{shard.name} {n}" for n in range(ROWS)]})
    return shards


@contextlib.contextmanager
def slow(shards: Shards, rows_per_s: int = 4_000) -> Iterator[None]:
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.slow_rows("orders", rows_per_s=rows_per_s)
    try:
        yield
    finally:
        for shard in shards:
            assert shard.server.standin is not None
            shard.server.standin.faults.clear()


def started(directory: PipelineDirectory, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        directory.command("run", *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for_rows(sink: SinkDatabase, rows: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            if int(rows_of(sink, "SELECT coalesce(sum(rows), 0) FROM etl.chunks")[0][0]) >= rows:
                return
        time.sleep(0.02)
    raise AssertionError("the chunks did not come")


def stopped_at(directory: PipelineDirectory, shards: Shards, sink: SinkDatabase, rows: int, number: int) -> None:
    """A run that is ended by a signal once so many rows are committed."""
    with slow(shards):
        process = started(directory)
        wait_for_rows(sink, rows)
        process.send_signal(number)
        process.communicate(timeout=30)


def is_complete(sink: SinkDatabase) -> bool:
    return rows_of(
        sink,
        "SELECT count(*), count(DISTINCT (id, shard)), count(*) FILTER (WHERE note = shard || ' ' || id) FROM orders",
    ) == [(4 * ROWS,) * 3]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_after_its_last_chunks(
    number: int, big: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 2: kill -9 at any point, then resume: the same rows, none twice."""
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    stopped_at(directory, big, sink, ROWS * 4 // 2, number)
    for shard in big:
        assert shard.server.standin is not None
        shard.server.standin.counters.reset()
    done = directory.cli("run", "--resume", "--json")
    assert done.code == 0, done.err
    assert (done.data["run"], done.data["attempt"], done.data["state"]) == (1, 2, "succeeded")
    assert is_complete(sink)
    read_again = sum(
        sum(shard.server.standin.counters.snapshot()["rows_sent"].values()) for shard in big if shard.server.standin
    )
    assert read_again < ROWS * 4 * 0.6
    assert leftovers(sink) == []
    assert rows_of(sink, "SELECT rows_read, rows_loaded, state, attempt FROM etl.runs") == [
        (4 * ROWS, 4 * ROWS, "succeeded", 2)
    ]
    assert "read in 2 parts" in str(done.data["tables"][0]["notes"])


def test_resumption_does_not_start_over(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """After a kill at 80 % less than 30 % of the rows are read again."""
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    stopped_at(directory, big, sink, int(ROWS * 4 * 0.8), signal.SIGKILL)
    before = int(rows_of(sink, "SELECT sum(rows) FROM etl.chunks")[0][0])
    assert directory.cli("run", "--resume").code == 0
    again = int(rows_of(sink, "SELECT sum(rows) FROM etl.chunks WHERE attempt = 2")[0][0])
    assert before + again == 4 * ROWS
    assert again < 0.3 * 4 * ROWS
    assert is_complete(sink)


def test_a_run_without_resume_starts_anew_and_says_so(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    stopped_at(directory, big, sink, ROWS, signal.SIGKILL)
    done = directory.cli("run", "--json")
    assert done.data["run"] == 2
    assert any("`--resume` would have continued it" in note for note in done.data["notes"])
    assert is_complete(sink)
    assert leftovers(sink) == []


@pytest.mark.parametrize("change", ["config", "schema"])
def test_a_run_whose_config_or_schema_has_changed_starts_anew(
    change: str, big: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    """Trap 20."""
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    stopped_at(directory, big, sink, ROWS, signal.SIGKILL)
    if change == "config":
        directory.change(tables=[{"source": "dbo.orders", "chunk_rows": 200, "where": "id >= 0"}])
    else:
        big.execute("ALTER TABLE dbo.orders ADD more int NULL")
    done = directory.cli("run", "--resume", "--json")
    assert done.data["run"] == 2
    assert any("have changed since; this run starts anew" in note for note in done.data["notes"])
    assert is_complete(sink)
    assert leftovers(sink) == []


def test_a_failed_run_is_retried_by_a_new_one_that_takes_its_chunks_over(
    big: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 500})
    standin = big[2].server.standin
    assert standin is not None
    standin.faults.error("orders", 208, after_rows=ROWS - 1_000, times=1)
    assert directory.cli("run").code == 1
    done = directory.cli("run", "--resume", "--json")
    assert (done.code, done.data["run"]) == (0, 2)
    assert rows_of(sink, "SELECT run_id, retry_of, state FROM etl.runs ORDER BY 1") == [
        (1, None, "failed"),
        (2, 1, "succeeded"),
    ]
    assert is_complete(sink)
    assert leftovers(sink) == []


def test_a_connection_that_is_cut_is_tried_again_at_the_chunk(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """Trap 22."""
    directory = pipeline(
        {"source": "dbo.orders", "chunk_rows": 500}, connection={"retries": 3, "retry_delay": "50ms", "timeout": "5s"}
    )
    for number, shard in enumerate(big):
        assert shard.server.standin is not None
        faults = shard.server.standin.faults
        faults.drop("orders", after_rows=1_000 + number, how="rst" if number % 2 else "fin", times=2)
    last = big[3].server.standin
    assert last is not None
    last.faults.error("orders", 1205, after_rows=700, times=1)
    done = directory.cli("run", "--json")
    assert done.code == 0, done.err
    assert is_complete(sink)
    assert any("another try in" in text for text in done.data["told"])


def test_a_permanent_error_fails_at_once(big: Shards, pipeline: Make) -> None:
    """Trap 22."""
    directory = pipeline({"source": "dbo.orders"}, connection={"retries": 5, "retry_delay": "30s"})
    standin = big[0].server.standin
    assert standin is not None
    standin.faults.error("orders", 229, after_rows=10)
    began = time.monotonic()
    done = directory.cli("run")
    assert done.code == 1
    assert time.monotonic() - began < 20


def test_the_sinks_backends_are_killed_in_mid_copy(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline(
        {"source": "dbo.orders", "chunk_rows": 200}, connection={"retries": 5, "retry_delay": "50ms", "timeout": "5s"}
    )
    with slow(big):
        process = started(directory)
        for rows in (ROWS, 2 * ROWS):
            wait_for_rows(sink, rows)
            with sink.connect(SUPERUSER) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name LIKE 'etl-cli test run 1 %'"
                )
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert is_complete(sink)


def test_a_run_whose_ledger_connection_is_lost_can_be_resumed(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    with slow(big):
        process = started(directory)
        wait_for_rows(sink, ROWS)
        with sink.connect(SUPERUSER) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'etl-cli test%'"
            )
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    done = directory.cli("run", "--resume", "--json")
    assert (done.code, done.data["run"]) == (0, 1), done.err
    assert is_complete(sink)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_second_run_is_refused_or_queued(overlap: str, big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200}, overlap=overlap)
    with slow(big):
        first = started(directory)
        wait_for_rows(sink, 1)
        second = started(directory)
        _, err = second.communicate(timeout=60)
        first.communicate(timeout=60)
    assert first.returncode == 0
    if overlap == "skip":
        assert second.returncode == 1
        assert f"run 1 on {os.uname().nodename} of test is active" in err
    else:
        assert second.returncode == 0, err
        assert rows_of(sink, "SELECT run_id, state FROM etl.runs ORDER BY 1") == [(1, "succeeded"), (2, "succeeded")]
    assert is_complete(sink)


def test_what_is_too_old_is_not_resumed(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200}, resume_within="1h")
    stopped_at(directory, big, sink, ROWS, signal.SIGTERM)
    with sink.connect() as connection:
        connection.execute("UPDATE etl.runs SET finalized_at = finalized_at - interval '2h'")
    done = directory.cli("run", "--resume", "--json")
    assert done.data["run"] == 2
    assert any("more than 1h ago" in note for note in done.data["notes"])


def test_resume_and_a_part_exclude_each_other(big: Shards, pipeline: Make) -> None:
    done = pipeline({"source": "dbo.orders"}).cli("run", "--resume", "--full")
    assert (done.code, "or --resume" in done.err) == (2, True)


def test_nothing_to_resume_is_told(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders"})
    with contextlib.suppress(EtlError):
        directory.run()
    done = directory.cli("run", "--resume", "--json")
    assert done.code == 0
    assert any("nothing to resume: run 1 succeeded" in note for note in done.data["notes"])


def test_a_watermark_of_an_earlier_mode_does_not_keep_a_whole_read_from_being_resumed(
    big: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    pipeline({"source": "dbo.orders", "mode": "upsert", "cursor": "id"}).run()
    directory = pipeline({"source": "dbo.orders", "chunk_rows": 200})
    with slow(big):
        process = started(directory)
        wait_for_rows(sink, 4 * ROWS + 8_000)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert "run 2 was interrupted" in said
    assert "--resume` goes on after its last chunk" in said
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert "note: goes on where attempt 1 stopped" in done.out
    assert rows_of(sink, "SELECT run_id, state, attempt FROM etl.runs ORDER BY 1")[1:] == [(2, "succeeded", 2)]
    assert is_complete(sink)


def test_a_resumption_that_cannot_be_says_why(big: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline({"source": "dbo.orders"})
    assert directory.cli("run").code == 0
    assert "note: nothing to resume: run 1 succeeded; this run starts anew" in directory.cli("run", "--resume").out
