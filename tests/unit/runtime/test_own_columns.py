"""The columns of an own source: what type a value tells, and that none is altered to fit."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Annotated, Any

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.own.columns import Columns, UnfitRowError
from etl_cli.runtime.own.inference import types_of_model

UTC = dt.UTC
BERLIN = dt.timezone(dt.timedelta(hours=1))
INSTANT = "timestamp(6) with time zone"
WALL = "timestamp(6) without time zone"


def one(kind: str, value: Any) -> Any:
    """The value as a column of that type holds it."""
    return Columns("s", {"a": kind}).batch([{"a": value}]).column(0).to_pylist()[0]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None], "bigint"),
        ([1, 2.5], "double precision"),
        ([True, False], "boolean"),
        (["x"], "text"),
        ([b"x"], "bytea"),
        ([dt.date(2026, 1, 1)], "date"),
        ([dt.time(5)], "time(6) without time zone"),
        ([dt.datetime(2026, 1, 1)], WALL),
        ([dt.datetime(2026, 1, 1, tzinfo=BERLIN)], INSTANT),
        ([uuid.UUID(int=1)], "uuid"),
        ([{"a": 1}, ["b"], ("c",)], "jsonb"),
    ],
)
def test_a_column_has_the_type_that_its_first_values_tell(values: list[Any], kind: str) -> None:
    columns = Columns("s", {})
    columns.batch([{"a": value} for value in values])
    assert columns.types == {"a": kind}


@pytest.mark.parametrize(
    "values",
    [
        [1, "x"],
        [1, True],
        [Decimal("1.5")],
        [dt.date(2026, 1, 1), dt.datetime(2026, 1, 1)],
        [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=UTC)],
        [object()],
    ],
)
def test_values_that_tell_no_type_want_a_declared_one(values: list[Any]) -> None:
    with pytest.raises(PlanError, match=r"^s: column a holds .*: its type cannot be told .* declare it"):
        Columns("s", {}).batch([{"a": value} for value in values])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", 1.5),
        ("bigint", Decimal("1.5")),
        ("bigint", float("nan")),
        ("bigint", float("inf")),
        ("bigint", True),
        ("bigint", "5"),
        ("bigint", 2**63),
        ("smallint", 32_768),
        ("real", 1e39),
        ("double precision", 2**60 + 1),
        ("double precision", "1"),
        ("numeric(5,2)", 1.239),
        ("numeric(5,2)", 123_456),
        ("numeric(5,2)", "a lot"),
        ("numeric(5,2)", Decimal("NaN")),
        ("boolean", 1),
        ("text", 5),
        ("text", "\ud800"),
        ("date", dt.datetime(2026, 1, 1, 5)),
        ("date", 5),
        ("date", "2026-13-01"),
        (INSTANT, 5),
        (INSTANT, dt.date(2026, 1, 1)),
        (INSTANT, dt.datetime(2026, 1, 1)),
        (INSTANT, "yesterday"),
        (WALL, dt.datetime(2026, 1, 1, tzinfo=UTC)),
        ("time(6) without time zone", dt.time(5, tzinfo=UTC)),
        ("time(6) without time zone", 5),
        ("uuid", "x"),
        ("jsonb", {"a": float("nan")}),
        ("jsonb", {"a": {1, 2}}),
        ("jsonb", {"a": "\ud800"}),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_not_altered(kind: str, value: Any) -> None:
    rows = [{"a": None}, {"a": value}]
    with pytest.raises(UnfitRowError, match=r"^s: column a \(.*\) cannot hold .*declare the column") as told:
        Columns("s", {"a": kind}).batch(rows)
    assert (told.value.row, told.value.column) == (1, "a")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        ("bigint", 2.0, 2),
        ("bigint", None, None),
        ("numeric(5,2)", 1.5, Decimal("1.50")),
        ("numeric(5,2)", "1.5", Decimal("1.50")),
        ("date", "2026-01-02", dt.date(2026, 1, 2)),
        ("time(6) without time zone", "05:06", dt.time(5, 6)),
        (INSTANT, "2026-01-01T01:00:00+01:00", dt.datetime(2026, 1, 1, tzinfo=UTC)),
        (INSTANT, "2026-01-01T00:00:00Z", dt.datetime(2026, 1, 1, tzinfo=UTC)),
        (WALL, "2026-01-01T00:00:00", dt.datetime(2026, 1, 1)),
        ("uuid", uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ("jsonb", {"ü": [1, {"at": dt.date(2026, 1, 1)}]}, '{"ü": [1, {"at": "2026-01-01"}]}'),
        ("jsonb", {"a": Decimal("1.10"), "b": uuid.UUID(int=5)}, f'{{"a": "1.10", "b": "{uuid.UUID(int=5)}"}}'),
    ],
)
def test_a_value_may_come_in_another_form(kind: str, value: Any, held: Any) -> None:
    assert one(kind, value) == held


def test_a_number_with_a_fraction_after_whole_ones_is_an_error() -> None:
    columns = Columns("s", {})
    columns.batch([{"a": 1}])
    with pytest.raises(UnfitRowError, match="it has a fraction"):
        columns.batch([{"a": 2}, {"a": 1.5}])


def test_a_column_of_nulls_waits_for_its_first_value() -> None:
    columns = Columns("s", {})
    assert columns.batch([{"id": 1, "note": None}]).schema.names == ["id"]
    later = columns.batch([{"id": 2, "note": "x"}, {"id": 3}])
    assert later.to_pylist() == [{"id": 2, "note": "x"}, {"id": 3, "note": None}]


def test_a_batch_of_before_is_completed_with_the_columns_of_later_ones() -> None:
    columns = Columns("s", {})
    before = columns.batch([{"id": 1}])
    columns.batch([{"id": 2, "note": "x"}])
    assert columns.completed(before).to_pylist() == [{"id": 1, "note": None}]


def test_declared_types_come_before_those_of_the_target_and_these_before_the_values() -> None:
    columns = Columns("s", {"a": "numeric(5,2)"}, there={"a": "bigint", "b": "integer", "c": "date"})
    columns.batch([{"a": 1, "b": 2, "C": "2026-01-01", "d": 4}])
    assert columns.types == {"a": "numeric(5,2)", "b": "integer", "C": "date", "d": "bigint"}


class Address(BaseModel):
    city: str


class Person(BaseModel):
    id: int
    name: str | None
    born: dt.date
    at: dt.datetime
    score: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    weight: Decimal
    address: Address
    tags: list[str]
    either: int | str


def test_a_model_tells_the_types_that_its_annotations_tell() -> None:
    assert types_of_model(Person) == {
        "id": "bigint",
        "name": "text",
        "born": "date",
        "score": "numeric(10,2)",
        "address": "jsonb",
        "tags": "jsonb",
    }
    assert types_of_model(None) == {}


@pytest.mark.parametrize(
    ("array", "kind", "held"),
    [
        (pa.array([1], pa.int8()), "smallint", 1),
        (pa.array([1], pa.uint32()), "bigint", 1),
        (pa.array(["x"], pa.string_view()), "text", "x"),
        (pa.array(["x"]).dictionary_encode(), "text", "x"),
        (pa.array([1000], pa.timestamp("ns")), WALL, dt.datetime(1970, 1, 1, 0, 0, 0, 1)),
        (pa.array([1], pa.timestamp("s", "Europe/Berlin")), INSTANT, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (pa.array([1], pa.time32("s")), "time(6) without time zone", dt.time(0, 0, 1)),
        (pa.array([{"x": 1}]), "jsonb", '{"x": 1}'),
        (pa.array([[1, 2]]), "jsonb", "[1, 2]"),
        (pa.array([Decimal("1.5")]), "numeric(2,1)", Decimal("1.5")),
    ],
)
def test_arrow_tells_its_types(array: pa.Array, kind: str, held: Any) -> None:
    columns = Columns("s", {})
    batch = columns.batch(pa.record_batch([array], names=["a"]))
    assert columns.types == {"a": kind}
    assert batch.column(0).to_pylist() == [held]


@pytest.mark.parametrize(
    ("array", "declared"),
    [
        (pa.array([1], pa.timestamp("ns")), None),
        (pa.array([2**60], pa.timestamp("s")), None),
        (pa.array([1], pa.duration("s")), None),
        (pa.array([1], pa.uint64()), None),
        (pa.array([Decimal("1.5")], pa.decimal256(60, 2)), None),
        (pa.array([1.5]), "bigint"),
        (pa.array(["x"]), "bigint"),
        (pa.array([7]), "boolean"),
        (pa.array([1e300]), "real"),
        (pa.array([True]), "date"),
    ],
)
def test_arrow_that_does_not_fit_is_told_in_a_line(array: pa.Array, declared: str | None) -> None:
    with pytest.raises((PlanError, UnfitRowError), match=r"\ba\b") as told:
        Columns("s", {"a": declared} if declared else {}).batch(pa.record_batch([array], names=["a"]))
    assert "\n" not in str(told.value)


def test_arrow_with_nulls_alone_and_with_columns_missing() -> None:
    columns = Columns("s", {"id": "bigint", "note": "text"})
    batch = columns.batch(pa.record_batch([pa.array([1]), pa.nulls(1)], names=["id", "other"]))
    assert batch.to_pylist() == [{"id": 1, "note": None}]
