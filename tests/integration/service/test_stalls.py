"""`stall_timeout`: silence ends an attempt, work does not."""

from __future__ import annotations

from etl_cli.runtime.ledger.requests import ask
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.serving import runs, serving
from tests.support.slowing import filled, standins
from tests.support.source import Shards
from tests.support.waiting import until


def ask_for_a_run(sink: SinkDatabase) -> None:
    until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
    with sink.open() as connection:
        ask(connection, "test", "run", {}, "somebody")


def stall(shards: Shards, after_rows: int, seconds: float) -> None:
    standins(shards)[1].faults.stall("orders", after_rows=after_rows, seconds=seconds)


def test_a_shard_that_works_on_its_first_row_is_left_alone(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    """A first sort may take longer than stall_timeout: the shard still answers others."""
    filled(shards)
    stall(shards, after_rows=0, seconds=32)
    with serving(pipeline({"source": "dbo.orders"}, stall_timeout="15s")) as service:
        ask_for_a_run(sink)
        service.said("succeeded", 90)
    assert not [line for line in service.lines if "stall_timeout" in line]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(16_000,)]


def test_a_reader_that_gets_nothing_more_is_ended_and_its_run_goes_on(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    filled(shards)
    stall(shards, after_rows=2_000, seconds=120)
    directory = pipeline(
        {"source": "dbo.orders", "chunk_rows": 500}, stall_timeout="5s", error_handling={"retry_delay": "1s"}
    )
    with serving(directory) as service:
        ask_for_a_run(sink)
        assert "it was silent for" in service.said("(stall_timeout)", 60)
        service.said("succeeded", 60)
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(16_000,)]
    assert [state for state, _ in runs(sink)] == ["succeeded"]
    assert rows_of(sink, "SELECT attempt FROM etl.runs") == [(2,)]
