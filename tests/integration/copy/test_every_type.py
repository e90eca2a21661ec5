"""Every type and edge value arrives as CORRECTNESS.md says: compared with what was put in, cell by cell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl_cli.runtime import planning
from etl_cli.runtime.source.driver import microsoft_driver
from etl_cli.sandbox import every_type
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

FREETDS = "/usr/lib/x86_64-linux-gnu/odbc/libtdsodbc.so"

READERS = {"arrow": "auto", "pyodbc": str(microsoft_driver()), "freetds": FREETDS}


@pytest.fixture(params=READERS, ids=str)
def driver(request: pytest.FixtureRequest) -> str:
    return READERS[request.param]


def test_every_type_and_edge_value_arrives_as_it_was_put_in(
    driver: str, shards: Shards, sink: SinkDatabase, pipeline: Callable[..., PipelineDirectory]
) -> None:
    """Traps 6, 8, 9, 10 and 13, cell by cell against what was put in."""
    shards.execute(every_type.create_table("dbo.everything"), *every_type.insert_rows("dbo.everything"))
    outcome = pipeline({"source": "dbo.everything"}, source={"driver": driver}).run()
    assert outcome.totals.rows_loaded == 4 * every_type.ROWS
    assert differences(sink) == []


def differences(sink: SinkDatabase) -> list[str]:
    """Each cell that is not what was put in."""
    found = []
    with sink.connect() as connection:
        connection.execute("SET timezone TO 'UTC'")
        for expected in every_type.expected_rows():
            listed = ", ".join(f'"{column}"::text' for column in expected)
            rows = connection.execute(
                f"SELECT shard, {listed} FROM everything WHERE id = %s ORDER BY shard",
                [expected["id"]],
            ).fetchall()
            assert [row[0] for row in rows] == ["shard1", "shard2", "shard3", "shard4"]
            for shard, *cells in rows:
                for (column, wanted), cell in zip(expected.items(), cells, strict=True):
                    if cell != wanted:
                        found.append(f"{shard} {expected['id']} {column}: {cell!r:.60} instead of {wanted!r:.60}")
    return found


def test_the_target_has_the_types_of_the_table(
    shards: Shards, sink: SinkDatabase, pipeline: Callable[..., PipelineDirectory]
) -> None:
    shards.execute(every_type.create_table("dbo.everything"), *every_type.insert_rows("dbo.everything"))
    pipeline({"source": "dbo.everything"}).run()
    with sink.connect() as connection:
        rows = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'everything'::regclass AND attnum > 0"
        ).fetchall()
        has_xml = planning.has_xml(connection)
    types: dict[str, str] = dict(rows)
    for case in every_type.CASES:
        wanted = "text" if case.sink_type == "xml" and not has_xml else case.sink_type
        assert types[case.column] == wanted, case.column
    assert types["version"] == "bytea"
    assert types["doubled"] == "integer"


def test_a_spatial_column_says_its_reference_system(
    shards: Shards, sink: SinkDatabase, pipeline: Callable[..., PipelineDirectory]
) -> None:
    shards.execute(
        "CREATE TABLE dbo.places (id int PRIMARY KEY, at geography NULL)",
        "INSERT INTO dbo.places VALUES (1, geography::STGeomFromText('POINT(1 2)', 4326)), (2, NULL)",
    )
    pipeline({"source": "dbo.places"}).run()
    with sink.connect() as connection:
        row = connection.execute("SELECT col_description('places'::regclass, 2)").fetchone()
    assert row is not None
    assert "SRID 4326" in str(row[0])


def test_mixed_reference_systems_are_an_error(
    shards: Shards, sink: SinkDatabase, pipeline: Callable[..., PipelineDirectory]
) -> None:
    shards.execute("CREATE TABLE dbo.places (id int PRIMARY KEY, at geography NULL)")
    shards[0].execute("INSERT INTO dbo.places VALUES (1, geography::STGeomFromText('POINT(1 2)', 4326))")
    shards[1].execute("INSERT INTO dbo.places VALUES (1, geography::STGeomFromText('POINT(1 2)', 4258))")
    done = pipeline({"source": "dbo.places"}).cli("run")
    assert done.code == 1
    assert "mixes the reference systems 4258, 4326" in done.err
