"""What the history says of a run adds up to its chunks."""

from __future__ import annotations

from etl_cli.runtime import looking
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.programs import program
from tests.support.source import Shards

OWN = """
    @pipeline.extract("events", mode="append", fan_out=["a", "b"], attempts=2, delay="10ms")
    def events(position, member):
        for page in range(position or 0, 4):
            if page == 2 and member == "b" and position is None:
                raise ValueError("once")
            yield [{"n": page}, {"n": page}], page + 1
"""


def test_rows_bytes_and_seconds_of_a_run_add_up_to_its_chunks(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1), (2)")
    directory = program(pipeline({"source": "dbo.orders", "chunk_rows": 1}), OWN)
    directory.run()
    sums = rows_of(
        sink,
        "SELECT count(*), sum(rows_read)::int, sum(rows)::int, sum(bytes)::int,"
        " min(started_at), max(committed_at) FROM etl.chunks",
    )
    chunks, read, loaded, size, first, last = sums[0]
    assert chunks > 8 + 7
    assert rows_of(sink, "SELECT rows_read, rows_loaded, bytes FROM etl.runs") == [(read, loaded, size)]
    of_tasks = "SELECT sum(rows_read)::int, sum(rows_loaded)::int, sum(bytes)::int FROM etl.tasks"
    assert rows_of(sink, of_tasks) == [(read, loaded, size)]
    assert loaded == rows_of(sink, "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM events)")[0][0]
    detail = looking.show_run(directory.path, 1)
    assert (detail.run.rows, detail.run.bytes, detail.chunks) == (loaded, size, chunks)
    began, ended = rows_of(sink, "SELECT attempted_at, finalized_at FROM etl.runs")[0]
    assert began <= first <= last <= ended
