"""What `types` asks for: the column that it makes, and every way in which it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from etl_cli.runtime.plan import ColumnPlan
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.sink.ddl import create_table
from etl_cli.runtime.source.catalogue import Catalogue, SourceTable
from etl_cli.runtime.source.scan import select_rows
from etl_cli.runtime.type_map import base_type
from etl_cli.runtime.type_requests import EXTENSION_TYPES
from etl_cli.runtime.window import Window
from tests.support.plans import catalogue, config_of, source_table

T = source_table(
    "dbo.t",
    "id int",
    "code char(8)",
    "Name nvarchar(60) NULL",
    "note nvarchar(max) NULL",
    "At datetimeoffset(7) NULL",
    "place geography NULL",
    "shape geometry",
    "v vector(3)",
    primary=["id"],
)


def both(table: SourceTable = T) -> list[Catalogue]:
    return [catalogue("shard1", table), catalogue("shard2", table)]


def columns_of(
    types: dict[str, str],
    shards: list[Catalogue] | None = None,
    extension_types: Mapping[str, str] = EXTENSION_TYPES,
    **keys: Any,
) -> dict[str, ColumnPlan]:
    """The planned columns by target, where nothing is against them."""
    config = config_of({"source": "dbo.t", "types": types, **keys})
    plan, problems, _ = make_plan(config, shards or both(), extension_types=extension_types)
    assert problems == []
    return {column.target: column for column in plan.tables[0].columns}


def problems_of(
    types: dict[str, str],
    shards: list[Catalogue] | None = None,
    extension_types: Mapping[str, str] = EXTENSION_TYPES,
    **keys: Any,
) -> list[str]:
    config = config_of({"source": "dbo.t", "types": types, **keys})
    return make_plan(config, shards or both(), extension_types=extension_types)[1]


def test_without_requests_every_type_is_the_usual_one() -> None:
    kinds = [column.sink_type for column in columns_of({}).values()]
    assert kinds == ["integer", "text", "text", "text", "timestamp with time zone", "bytea", "bytea", "real[]"]


@pytest.mark.parametrize("kind", ["char(8)", "varchar(8)", "nchar(8)", "nvarchar(8)"])
def test_varchar_keeps_the_length_of_every_text_that_has_one(kind: str) -> None:
    table = source_table("dbo.t", "id int", f"x {kind}", primary=["id"])
    column = columns_of({"x": "varchar"}, both(table))["x"]
    assert (column.sink_type, column.text, column.expression) == ("character varying(8)", True, "[x]")


def test_varchar_takes_the_longest_of_all_shards() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", "id int", "x varchar(10)", primary=["id"])),
        catalogue("shard2", source_table("dbo.t", "id int", "x nvarchar(50)", primary=["id"])),
        catalogue("shard3", source_table("dbo.t", "id int", "x varchar(9)", primary=["id"])),
    ]
    assert columns_of({"x": "varchar"}, shards)["x"].sink_type == "character varying(50)"


def test_varchar_of_a_shard_without_a_length_is_a_problem_that_names_the_shard() -> None:
    shards = [
        catalogue("shard1", source_table("dbo.t", "id int", "x varchar(10)", primary=["id"])),
        catalogue("shard2", source_table("dbo.t", "id int", "x varchar(max)", primary=["id"])),
    ]
    assert problems_of({"x": "varchar"}, shards) == [
        "dbo.t: column x: types: varchar does not fit varchar(max), which has no length (shard2): "
        "take the column out of `types`: it is text"
    ]


def test_an_offset_is_a_second_column_right_after_the_first() -> None:
    columns = columns_of({"at": "offset"})
    assert list(columns)[4:6] == ["at", "at_offset"]
    offset = columns["at_offset"]
    assert columns["at"].sink_type == "timestamp with time zone"
    assert (offset.source, offset.sink_type, offset.nullable) == ("At_offset", "smallint", True)
    assert offset.expression == "DATEPART(tzoffset, [At])"
    assert offset.comment == "minutes east of UTC of At"


def test_changes_are_joined_with_the_columns_that_the_source_has() -> None:
    config = config_of({"source": "dbo.t", "columns": ["id", "at"], "types": {"at": "offset"}})
    (table,) = make_plan(config, both())[0].tables
    inner, _, _ = select_rows(table, Window(since=1, version=2)).partition(" FROM CHANGETABLE")
    assert inner.startswith("SELECT [id], [At], DATEPART(tzoffset, [At]) AS [At_offset] FROM (SELECT ct.[id] AS [id], ")
    assert "t.[At] AS [At]" in inner
    assert "t.[At_offset]" not in inner


def test_names_that_are_kept_keep_the_offsets_too() -> None:
    assert "At_offset" in columns_of({"at": "offset"}, names="keep")


def test_the_name_of_an_offset_gives_way_within_63_bytes() -> None:
    long = "ä" * 31
    table = source_table("dbo.t", "id int", f"{long} datetimeoffset(0)", primary=["id"])
    assert list(columns_of({long: "offset"}, both(table))) == ["id", long, "ä" * 28 + "_offset"]


@pytest.mark.parametrize("column", ["at_offset", "AT_OFFSET"])
def test_an_offset_that_would_meet_a_column_is_one_problem_with_both_remedies(column: str) -> None:
    table = source_table("dbo.t", "id int", "at datetimeoffset(0)", f"{column} int", primary=["id"])
    assert problems_of({"at": "offset"}, both(table)) == [
        "dbo.t: column at: types: offset would make a column at_offset, which the table has already: "
        "leave that one out with `columns`, or take at out of `types`"
    ]
    assert "at_offset" in columns_of({"at": "offset"}, both(table), columns=["id", "at"])


def test_an_offset_that_would_meet_the_shard_column_is_a_problem() -> None:
    (problem,) = problems_of({"at": "offset"}, shard_column="at_offset")
    assert "give the shard's another name with `shard_column`" in problem


def test_postgis_and_vector_are_spelled_as_the_sink_spells_them() -> None:
    types = {"place": "postgis", "shape": "postgis", "v": "vector"}
    columns = columns_of(types)
    assert [columns[name].sink_type for name in types] == ["geography", "geometry", "vector(3)"]
    spelled = {"geography": "gis.geography", "geometry": "gis.geometry", "vector": '"my ext".vector'}
    columns = columns_of(types, extension_types=spelled)
    assert [columns[name].sink_type for name in types] == ["gis.geography", "gis.geometry", '"my ext".vector(3)']
    assert [base_type(columns[name].sink_type) for name in types] == ["geography", "geometry", "vector"]


def test_the_table_is_made_with_the_types_that_are_asked_for() -> None:
    types = {"code": "varchar", "at": "offset", "place": "postgis", "v": "vector"}
    config = config_of({"source": "dbo.t", "types": types})
    (table,) = make_plan(config, both())[0].tables
    ddl = create_table(table, "public", "t")
    for line in (
        '"code" character varying(8) NOT NULL',
        '"at_offset" smallint,',
        '"place" geography,',
        '"v" vector(3)',
    ):
        assert line in ddl


@pytest.mark.parametrize(("column", "name"), [("place", "postgis"), ("shape", "postgis"), ("v", "vector")])
def test_a_missing_extension_is_one_problem_with_the_statement_that_mends_it(column: str, name: str) -> None:
    assert problems_of({column: name}, extension_types={}) == [
        f"dbo.t: column {column}: types: {name} needs the extension {name}, which the sink's database has not: "
        f"CREATE EXTENSION {name} there, or take the column out of `types`"
    ]


@pytest.mark.parametrize(
    ("types", "told"),
    [
        ({"id": "varchar"}, "varchar does not fit int (shard1): it is for char, varchar, nchar, nvarchar"),
        ({"id": "offset"}, "offset does not fit int (shard1): it is for datetimeoffset"),
        ({"id": "postgis"}, "postgis does not fit int (shard1): it is for geography, geometry"),
        ({"id": "vector"}, "vector does not fit int (shard1): it is for vector"),
        ({"note": "varchar"}, "varchar does not fit nvarchar(max), which has no length (shard1)"),
    ],
)
@pytest.mark.parametrize("source", ["dbo.t", "dbo.*"])
def test_a_request_that_does_not_fit_is_one_problem_in_a_pattern_too(
    source: str, types: dict[str, str], told: str
) -> None:
    (problem,) = make_plan(config_of({"source": source, "types": types}), both(), extension_types={})[1]
    assert problem.startswith(f"dbo.t: column {next(iter(types))}: types: {told}")
    assert "take the column out of `types`" in problem


def test_an_unknown_column_is_a_problem_that_lists_the_columns() -> None:
    assert problems_of({"nmae": "varchar"}) == [
        "dbo.t: types names a column nmae, which the table has not: "
        "its columns are id, code, Name, note, At, place, shape, v"
    ]


def test_a_column_that_is_not_copied_is_a_problem() -> None:
    assert problems_of({"code": "varchar"}, columns=["id"]) == [
        "dbo.t: types names column code, which is not copied: add it to `columns`, or take it out of `types`"
    ]


def test_a_column_named_twice_is_a_problem() -> None:
    assert problems_of({"Name": "varchar", "NAME": "varchar"}) == [
        "dbo.t: types names column Name twice: keep one of the two"
    ]


def test_a_pattern_is_not_concerned_with_columns_that_a_table_has_not() -> None:
    other = source_table("dbo.other", "id int", "Code varchar(5)", primary=["id"])
    shards = [catalogue("shard1", T, other), catalogue("shard2", T, other)]
    config = config_of({"source": "dbo.*", "types": {"code": "varchar", "at": "offset"}})
    plan, problems, _ = make_plan(config, shards)
    assert problems == []
    other_plan, own = plan.tables
    assert [c.sink_type for c in other_plan.columns] == ["integer", "character varying(5)"]
    assert "at_offset" in [c.target for c in own.columns]


def test_defaults_concern_the_tables_that_have_the_column() -> None:
    other = source_table("dbo.other", "id int", primary=["id"])
    shards = [catalogue("shard1", T, other), catalogue("shard2", T, other)]
    config = config_of("dbo.t", "dbo.other", defaults={"types": {"code": "varchar"}})
    plan, problems, _ = make_plan(config, shards)
    assert problems == []
    assert [len(table.columns) for table in plan.tables] == [8, 1]
    assert plan.tables[0].columns[1].sink_type == "character varying(8)"


def test_the_entry_of_a_table_takes_the_place_of_the_defaults() -> None:
    config = config_of({"source": "dbo.t", "types": {}}, defaults={"types": {"code": "varchar"}})
    assert make_plan(config, both())[0].tables[0].columns[1].sink_type == "text"


def test_the_fingerprint_changes_with_a_request() -> None:
    prints = {make_plan(config_of({"source": "dbo.t", "types": t}), both())[0].fingerprint
              for t in ({}, {"code": "varchar"}, {"at": "offset"}, {"shape": "postgis"})}  # fmt: skip
    assert len(prints) == 4


def test_another_request_is_refused_by_the_configuration() -> None:
    with pytest.raises(ValidationError, match="Input should be 'varchar', 'offset', 'postgis' or 'vector'"):
        config_of({"source": "dbo.t", "types": {"code": "citext"}})
