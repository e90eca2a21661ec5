"""Own writers of an etl.py, where a failed run is gone on with by a new one."""

from __future__ import annotations

import json

import pytest

from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.programs import program
from tests.support.source import Shards

WRITER = """
    import json

    PLACE = pipeline.directory

    @pipeline.load("{table}")
    def to_file(batch, last, part, run_id):
        with open(PLACE / f"rows-{{part}}-{{run_id}}.jsonl", "ab") as file:
            file.truncate(last or 0)
            for row in batch.to_pylist():
                file.write(json.dumps(row).encode() + b"\\n")
                if row["id"] == 5 and not (PLACE / "repaired").exists():
                    file.flush()
                    raise OSError("the disk is full")
            file.flush()
            return file.tell()
"""

OWN_SOURCE = """
    @pipeline.extract("numbers", key="id", attempts=1, pages=1)
    def numbers(position):
        for n in range(position or 1, 10):
            yield {"id": n}, n + 1
"""


@pytest.mark.parametrize("table", ["dbo.orders", "numbers"])
def test_a_resumption_of_a_failed_run_goes_on_in_the_files_of_that_run(
    table: str, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)")
    shards[0].execute("INSERT INTO dbo.orders VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)")
    tables = [{"source": "dbo.orders", "chunk_rows": 1}] if table == "dbo.orders" else []
    body = WRITER.format(table=table) + ("" if tables else OWN_SOURCE)
    directory = program(pipeline(*tables), body)
    assert directory.cli("run").code == 1
    (directory.path / "repaired").touch()
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert rows_of(sink, "SELECT run_id, state, retry_of FROM etl.runs ORDER BY 1") == [
        (1, "failed", None),
        (2, "succeeded", 1),
    ]
    (file,) = directory.path.glob("rows-*.jsonl")
    assert file.stem.endswith("-1")
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == list(range(1, 10))
