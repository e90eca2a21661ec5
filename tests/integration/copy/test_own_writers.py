"""Own writers of an etl.py: given a table's rows as well, each once, whatever fails."""

from __future__ import annotations

import json

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.programs import program
from tests.support.source import Shards

TO_FILES = """
    import json, os, pathlib

    here = pathlib.Path(__file__).parent

    @pipeline.load("dbo.orders")
    def to_file(batch, last, part, table, member, run_id):
        assert (table, member) == ("dbo.orders", part)
        with open(here / f"{part}.jsonl", "ab") as file:
            file.truncate(last or 0)
            for row in batch.to_pylist():
                file.write(json.dumps(row).encode() + b"\\n")
            file.flush()
            if (here / "break").exists() and file.tell() > 400:
                (here / "break").unlink()
                raise OSError("no space left")
            if (here / "kill").exists() and file.tell() > 400:
                (here / "kill").unlink()
                os.kill(os.getpid(), 9)
            return file.tell()
"""


@pytest.mark.parametrize("how", ["", "break", "kill"])
def test_every_row_is_written_once(how: str, shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, name nvarchar(20))")
    for shard in shards:
        listed = ", ".join(f"({n}, N'name {n}')" for n in range(40))
        shard.execute(f"INSERT INTO dbo.orders VALUES {listed}")
    directory = program(
        pipeline({"source": "dbo.orders", "chunk_rows": 10}, connection={"retries": 2, "retry_delay": "10ms"}), TO_FILES
    )
    if how:
        (directory.path / how).touch()
    done = directory.cli("run")
    if how == "kill":
        assert done.code == 1
        done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    for number in range(1, 5):
        lines = (directory.path / f"shard{number}.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [{"id": n, "name": f"name {n}"} for n in range(40)]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(160,)]
    told = "dbo.orders of shard"
    assert (told in done.out and 'write failed: "to_file": OSError: no space left' in done.out) == (how == "break")


def test_a_writer_for_no_table_or_with_strange_parameters_is_found(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)")
    directory = program(
        pipeline({"source": "dbo.orders", "allow_empty": True}),
        """
        @pipeline.load("dbo.items")
        def keep(batch):
            pass
        """,
    )
    with pytest.raises(EtlError, match=r'@pipeline.load\("dbo.items"\) of keep: no such table is copied'):
        directory.run()
    program(directory, '@pipeline.load("dbo.orders")\ndef keep(rows):\n    pass')
    with pytest.raises(EtlError, match=r'@pipeline.load\("dbo.orders"\): keep takes rows: it is given batch, last'):
        directory.run()
