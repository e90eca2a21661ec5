"""Types on request, from the wire to the cell, by every reader; those of extensions where the Postgres has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.source import catalogue
from tests.integration.copy.test_every_type import READERS
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import Shards

Make = Callable[..., PipelineDirectory]


@pytest.fixture(params=READERS, ids=str)
def driver(request: pytest.FixtureRequest) -> str:
    return READERS[request.param]


def rows_of(sink: SinkDatabase, query: str) -> list[tuple[object, ...]]:
    with sink.connect() as connection:
        connection.execute("SET timezone TO 'UTC'")
        return connection.execute(query).fetchall()


def types_of(sink: SinkDatabase, table: str) -> dict[str, str]:
    rows = rows_of(
        sink,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        f" WHERE attrelid = '{table}'::regclass AND attnum > 0",
    )
    return {str(name): str(kind) for name, kind in rows}


# offset

OFFSETS = [
    ("'0001-01-01T00:00:00+00:00'", "0001-01-01 00:00:00+00", 0),
    ("'0001-01-01T14:00:00+14:00'", "0001-01-01 00:00:00+00", 840),
    ("'9999-12-31T23:59:59.9999999+00:00'", "9999-12-31 23:59:59.999999+00", 0),
    ("'2024-03-31T02:30:00.1234567+05:30'", "2024-03-30 21:00:00.123456+00", 330),
    ("'2024-03-31T02:30:00-08:00'", "2024-03-31 10:30:00+00", -480),
    ("'2024-03-31T02:30:00-00:30'", "2024-03-31 03:00:00+00", -30),
    ("'2024-03-31T02:30:00-14:00'", "2024-03-31 16:30:00+00", -840),
    ("NULL", None, None),
]


def make_events(shards: Shards) -> None:
    values = ", ".join(f"({number}, {literal})" for number, (literal, _, _) in enumerate(OFFSETS))
    shards.execute(
        "CREATE TABLE dbo.events (id int NOT NULL PRIMARY KEY, at datetimeoffset(7) NULL)",
        f"INSERT INTO dbo.events VALUES {values}",
    )


def test_an_offset_stands_beside_its_instant(driver: str, shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    make_events(shards)
    pipeline({"source": "dbo.events", "types": {"At": "offset"}}, source={"driver": driver}).run()
    assert types_of(sink, "events")["at_offset"] == "smallint"
    for shard in ("shard1", "shard4"):
        found = rows_of(sink, f"SELECT at::text, at_offset FROM events WHERE shard = '{shard}' ORDER BY id")
        assert found == [(text, offset) for _, text, offset in OFFSETS]
    assert rows_of(sink, "SELECT col_description('events'::regclass, 3)") == [("minutes east of UTC of at",)]


def test_a_difference_sees_an_offset_that_moved_while_the_instant_stood_still(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    make_events(shards)
    directory = pipeline({"source": "dbo.events", "types": {"at": "offset"}, "apply": "difference"})
    directory.run()
    shards[0].execute("UPDATE dbo.events SET at = '2024-03-31T10:30:00+00:00' WHERE id = 4")
    published = directory.run().tables[0].published
    assert published is not None
    assert (published.inserted, published.updated, published.deleted) == (0, 1, 0)
    assert rows_of(sink, "SELECT at::text, at_offset FROM events WHERE id = 4 AND shard = 'shard1'") == [
        ("2024-03-31 10:30:00+00", 0)
    ]


def test_a_difference_onto_a_target_without_the_offset_adds_it_to_every_row(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    make_events(shards)
    pipeline({"source": "dbo.events"}).run()
    pipeline({"source": "dbo.events", "types": {"at": "offset"}, "apply": "difference"}).run()
    found = rows_of(sink, "SELECT at::text, at_offset FROM events WHERE shard = 'shard2' ORDER BY id")
    assert found == [(text, offset) for _, text, offset in OFFSETS]


# varchar

FULL = [
    # each as long as its column lets it be
    ("latin", "char(4)", None, "'ab'", "ab  "),
    ("euro", "varchar(3)", None, "'€ä!'", "€ä!"),
    ("utf8", "varchar(8)", "Latin1_General_100_CI_AS_SC_UTF8", "N'😀äü'", "😀äü"),
    ("ascii8", "varchar(8)", "Latin1_General_100_CI_AS_SC_UTF8", "'12345678'", "12345678"),
    ("wide", "nvarchar(5)", None, "N'😀😀x'", "😀😀x"),
    ("bmp", "nvarchar(5)", None, "N'漢字漢字漢'", "漢字漢字漢"),
    ("padded", "nchar(4)", None, "N'ä'", "ä   "),
    ("empty", "varchar(1)", None, "''", ""),
    ("gone", "nvarchar(1)", None, "NULL", None),
]


def make_texts(shards: Shards) -> None:
    columns = ", ".join(f"{name} {kind}{f' COLLATE {c}' if c else ''} NULL" for name, kind, c, _, _ in FULL)
    shards.execute(
        f"CREATE TABLE dbo.texts (id int NOT NULL PRIMARY KEY, {columns})",
        f"INSERT INTO dbo.texts VALUES (1, {', '.join(literal for _, _, _, literal, _ in FULL)})",
    )


def test_a_varchar_holds_the_longest_value_of_every_kind(
    driver: str, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    make_texts(shards)
    types = {name: "varchar" for name, *_ in FULL}
    pipeline({"source": "dbo.texts", "types": types}, source={"driver": driver}).run()
    listed = ", ".join(types)
    assert rows_of(sink, f"SELECT {listed} FROM texts WHERE shard = 'shard2'") == [tuple(text for *_, text in FULL)]
    lengths = {name: kind.partition("(")[2].rstrip(")") for name, kind, *_ in FULL}
    found = types_of(sink, "texts")
    assert {name: found[name] for name in lengths} == {n: f"character varying({size})" for n, size in lengths.items()}


def test_a_varchar_may_be_the_key_and_is_compared_by_its_bytes(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute(
        "CREATE TABLE dbo.codes (code varchar(9) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,"
        " note nvarchar(9) NULL)",
        "INSERT INTO dbo.codes VALUES ('a', N'x'), ('b', N'')",
    )
    directory = pipeline({"source": "dbo.codes", "types": {"code": "varchar", "note": "varchar"}})
    directory.run()
    shards[0].execute("UPDATE dbo.codes SET note = N'X' WHERE code = 'a'", "UPDATE dbo.codes SET note = NULL"
                      " WHERE code = 'b'")  # fmt: skip
    directory.change(tables=[
        {"source": "dbo.codes", "types": {"code": "varchar", "note": "varchar"}, "apply": "difference"}
    ])  # fmt: skip
    published = directory.run().tables[0].published
    assert published is not None
    assert (published.inserted, published.updated, published.deleted) == (0, 2, 0)
    assert rows_of(sink, "SELECT code, note FROM codes WHERE shard = 'shard1' ORDER BY code") == [
        ("a", "X"), ("b", None)
    ]  # fmt: skip


def test_a_swap_takes_a_text_to_a_varchar_and_back(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    make_texts(shards)
    for types, kind in (({}, "text"), ({"wide": "varchar"}, "character varying(5)"), ({}, "text")):
        pipeline({"source": "dbo.texts", "types": types}).run()
        assert types_of(sink, "texts")["wide"] == kind


# extensions


def extension(sink: SinkDatabase, name: str, schema: str = "public") -> None:
    """Create the extension, or skip the test where this Postgres has none of that name."""
    with sink.connect(SUPERUSER) as connection:
        if not connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", [name]).fetchall():
            pytest.skip(f"this Postgres has no extension {name}")
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        connection.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO PUBLIC')
        connection.execute(f'CREATE EXTENSION {name} SCHEMA "{schema}"')


@pytest.fixture(params=["public", "my ext"])
def schema(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the extension is: on the search path, and off it."""
    return request.param  # type: ignore[no-any-return]


SHAPES = [
    ("POINT (13.4 52.5)", 4326, "SRID=4326;POINT(13.4 52.5)"),
    ("POINT (13.4 52.5 34.5)", 4258, "SRID=4258;POINT(13.4 52.5 34.5)"),
    ("POINT (13.4 52.5 34.5 7)", 4326, "SRID=4326;POINT(13.4 52.5 34.5 7)"),
    ("LINESTRING (0 0 1 2, 10 10 3 4)", 4326, "SRID=4326;LINESTRING(0 0 1 2,10 10 3 4)"),
    (
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (1 1, 1 2, 2 2, 1 1))",
        4326,
        "SRID=4326;POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,1 2,2 2,1 1))",
    ),
    ("MULTIPOINT ((1 2 3), (4 5 6))", 4326, "SRID=4326;MULTIPOINT(1 2 3,4 5 6)"),
    ("MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))", 4326, "SRID=4326;MULTILINESTRING((0 0,1 1),(2 2,3 3))"),
    ("MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))", 4326, "SRID=4326;MULTIPOLYGON(((0 0,1 0,1 1,0 0)))"),
]


def make_places(shards: Shards, kind: str, shapes: Sequence[tuple[str, int, str]] = SHAPES) -> None:
    shards.execute(f"CREATE TABLE dbo.places (id int NOT NULL PRIMARY KEY, spot {kind} NULL)")
    for number, (text, srid, _) in enumerate(shapes):
        shards.execute(f"INSERT INTO dbo.places VALUES ({number}, {kind}::STGeomFromText('{text}', {srid}))")
    shards.execute(f"INSERT INTO dbo.places VALUES ({len(shapes)}, NULL)")


@pytest.mark.parametrize("kind", ["geometry", "geography"])
def test_shapes_are_those_of_postgis_with_srid_z_and_m(
    kind: str, driver: str, schema: str, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    extension(sink, "postgis", schema)
    make_places(shards, kind)
    pipeline({"source": "dbo.places", "types": {"spot": "postgis"}}, source={"driver": driver}).run()
    spelled = kind if schema == "public" else f'"{schema}".{kind}'
    assert types_of(sink, "places")["spot"] == spelled
    for shard in ("shard1", "shard4"):
        found = rows_of(sink, f"SELECT \"{schema}\".st_asewkt(spot) FROM places WHERE shard = '{shard}' ORDER BY id")
        assert found == [*((text,) for _, _, text in SHAPES), (None,)]


def test_a_difference_of_shapes_sees_what_their_equality_does_not(
    schema: str, shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    extension(sink, "postgis", schema)
    make_places(shards, "geometry")
    directory = pipeline({"source": "dbo.places", "types": {"spot": "postgis"}, "apply": "difference"})
    directory.run()
    shards[0].execute(
        "UPDATE dbo.places SET spot = geometry::STGeomFromText('POINT (13.4 52.5)', 0) WHERE id = 0",
        "UPDATE dbo.places SET spot = geometry::STGeomFromText('POINT (13.4 52.5 34.5 8)', 4326) WHERE id = 2",
    )
    published = directory.run().tables[0].published
    assert published is not None
    assert (published.how, published.updated) == ("difference", 2)
    published = directory.run().tables[0].published
    assert published is not None
    assert published.updated == 0
    found = rows_of(sink, f"SELECT \"{schema}\".st_asewkt(spot) FROM places WHERE shard = 'shard1' AND id IN (0, 2)")
    assert set(found) == {("POINT(13.4 52.5)",), ("SRID=4326;POINT(13.4 52.5 34.5 8)",)}


def test_a_swap_takes_wkb_to_a_shape_and_its_index_and_comment_stay(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    extension(sink, "postgis")
    make_places(shards, "geometry", [SHAPES[0]])
    pipeline({"source": "dbo.places"}).run()
    comment = "SELECT col_description('places'::regclass, 2)"
    assert rows_of(sink, comment) == [("WKB, SRID 4326",)]
    directory = pipeline({"source": "dbo.places", "types": {"spot": "postgis"}})
    directory.run()
    assert rows_of(sink, comment) == [(None,)]
    with sink.connect() as connection:
        connection.execute("CREATE INDEX places_spot ON places USING gist (spot)")
        connection.execute("COMMENT ON COLUMN places.spot IS 'where it is'")
    published = directory.run().tables[0].published
    assert published is not None
    assert published.how == "swap"
    assert rows_of(sink, comment) == [("where it is",)]
    assert rows_of(sink, "SELECT count(*) FROM pg_indexes WHERE indexname = 'places_spot'") == [(1,)]


def test_a_longitude_that_postgis_would_turn_back_fails_the_run(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    extension(sink, "postgis")
    make_places(shards, "geography", [("POINT (190 10)", 4326, "")])
    with pytest.raises(
        EtlError, match=r"dbo\.places: PostGIS would change a geography .*take the column out of `types`"
    ):
        pipeline({"source": "dbo.places", "types": {"spot": "postgis"}}).run()
    assert rows_of(sink, "SELECT to_regclass('places')") == [(None,)]


VECTORS = [("N'[1.5,-2.0000000e+000,0.1]'", "[1.5,-2,0.1]"), ("N'[0,0,0]'", "[0,0,0]"), ("NULL", None)]


@pytest.fixture
def vectors(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in knows no vector: a column holds the JSON that a CAST of one gives, its catalogue says vector(3)."""
    values = ", ".join(f"({number}, {literal})" for number, (literal, _) in enumerate(VECTORS))
    shards.execute(
        "CREATE TABLE dbo.items (id int NOT NULL PRIMARY KEY, v nvarchar(200) NULL)",
        f"INSERT INTO dbo.items VALUES {values}",
    )
    real = catalogue._rows

    def rows(connection: Any, query: str) -> list[Any]:
        return [("dbo", "items", "v", 3)] if query == "vectors" else real(connection, query)

    monkeypatch.setattr(catalogue, "_rows", rows)


@pytest.mark.usefixtures("vectors")
def test_vectors_are_those_of_pgvector(driver: str, schema: str, sink: SinkDatabase, pipeline: Make) -> None:
    extension(sink, "vector", schema)
    directory = pipeline(
        {"source": "dbo.items", "types": {"v": "vector"}, "apply": "difference"}, source={"driver": driver}
    )
    directory.run()
    spelled = "vector(3)" if schema == "public" else f'"{schema}".vector(3)'
    assert types_of(sink, "items")["v"] == spelled
    found = "SELECT v::text FROM items WHERE shard = 'shard3' ORDER BY id"
    assert rows_of(sink, found) == [(text,) for _, text in VECTORS]
    with sink.connect() as connection:
        connection.execute("UPDATE items SET v = '[1,1,1]' WHERE id = 0")
    published = directory.run().tables[0].published
    assert published is not None
    assert (published.inserted, published.updated, published.deleted) == (0, 4, 0)
    assert rows_of(sink, found) == [(text,) for _, text in VECTORS]


@pytest.mark.usefixtures("vectors")
def test_a_vector_without_a_request_is_a_list_of_reals(sink: SinkDatabase, pipeline: Make) -> None:
    pipeline({"source": "dbo.items"}).run()
    assert types_of(sink, "items")["v"] == "real[]"
    assert rows_of(sink, "SELECT v::text FROM items WHERE shard = 'shard3' AND id = 0") == [("{1.5,-2,0.1}",)]


@pytest.mark.usefixtures("vectors")
def test_check_and_run_refuse_an_extension_that_the_sink_has_not(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    make_places(shards, "geography", [])
    directory = pipeline({"source": "dbo.places", "types": {"spot": "postgis"}})
    told = (
        "dbo.places: column spot: types: postgis needs the extension postgis, which the sink's database has not: "
        "CREATE EXTENSION postgis there, or take the column out of `types`"
    )
    for verb in ("check", "plan", "run"):
        done = directory.cli(verb)
        assert done.code != 0
        assert told in done.out + done.err
    with pytest.raises(EtlError, match=r"v: types: vector needs the extension vector.*CREATE EXTENSION vector there"):
        pipeline({"source": "dbo.items", "types": {"v": "vector"}}).run()


def test_check_names_every_problem_of_types(shards: Shards, pipeline: Make) -> None:
    make_events(shards)
    directory = pipeline({"source": "dbo.events", "types": {"id": "varchar", "att": "offset"}})
    done = directory.cli("check")
    assert "types names a column att, which the table has not: its columns are id, at" in done.out
    assert "column id: types: varchar does not fit int (shard1): it is for char, varchar, nchar, nvarchar" in done.out
