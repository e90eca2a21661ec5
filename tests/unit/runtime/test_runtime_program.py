"""Rows through what an etl.py declares, without a database."""

from __future__ import annotations

import importlib.util
from typing import Any

import pyarrow as pa
import pytest

from etl_cli.runtime.errors import EtlError, PlanError
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.program.chain import Chain
from etl_cli.runtime.program.declared import Change, Declared
from etl_cli.runtime.program.shapes import changed
from tests.support.plans import table_plan


def orders(**more: Any) -> TablePlan:
    return table_plan({"id": "integer", "note": "text"}, ["id"], **more)


def chain(*changes: Change, **more: Any) -> Chain:
    return Chain(orders(**more), changes, "shard1")


def change(kind: Any, function: Any, **settings: Any) -> Change:
    return Change(kind, "dbo.orders", getattr(function, "__name__", "f"), function, **settings)


BATCH = pa.record_batch({"id": pa.array([1, 2, 3], pa.int32()), "note": pa.array(["a", None, "c"], pa.large_string())})
"""As the reader gives it."""


def test_rows_dropped_and_added_are_counted() -> None:
    made = chain(
        change("filter", lambda row: row["id"] != 2),
        change("map", lambda row: [row, row] if row["id"] == 1 else row, key=["id"]),
    )
    batch, rejects = made.apply(BATCH)
    assert (batch.column("id").to_pylist(), rejects, made.dropped, made.added) == ([1, 1, 3], [], 1, 1)


def test_the_first_of_several_bad_rows_is_found_in_a_batch() -> None:
    def strict(batch: pa.RecordBatch) -> pa.RecordBatch:
        if None in batch.column("note").to_pylist():
            raise ValueError("no note")
        return batch

    with pytest.raises(EtlError, match=r'step\[1\] "strict" failed: ValueError: no note; the row with id = 2'):
        chain(change("transform", strict)).apply(BATCH)
    batch, rejects = chain(change("transform", strict), on_bad_row="reject").apply(BATCH)
    assert batch.column("id").to_pylist() == [1, 3]
    assert [reject.key for reject in rejects] == [{"id": "2"}]


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_frames_are_given_to_whoever_prefers_them(library: Any) -> None:
    there = importlib.util.find_spec(library) is not None
    made = chain(change("transform", lambda frame: frame, as_=library))
    if there:
        assert made.apply(BATCH)[0].to_pylist() == BATCH.to_pylist()
    else:
        with pytest.raises(PlanError, match=f"wants the package {library}"):
            made.apply(BATCH)


def test_columns_that_stay_keep_their_plan_and_others_are_typed_by_arrow() -> None:
    plan = orders()
    kinds = {
        "a": (pa.float32(), "real"),
        "b": (pa.decimal128(20, 3), "numeric(20,3)"),
        "c": (pa.timestamp("us", tz="UTC"), "timestamp(6) with time zone"),
        "d": (pa.uint32(), "bigint"),
    }

    def more(batch: pa.RecordBatch) -> pa.RecordBatch:
        for name, (kind, _) in kinds.items():
            batch = batch.append_column(name, pa.nulls(batch.num_rows, kind))
        return batch

    made = changed(plan, [change("transform", more)])
    assert made.columns[: len(plan.columns)] == plan.columns
    assert {c.target: c.sink_type for c in made.columns[len(plan.columns) :]} == {n: k for n, (_, k) in kinds.items()}
    assert made.reading == plan


def test_checksums_and_changes_exclude_each_other() -> None:
    with pytest.raises(PlanError, match="use validate: counts"):
        changed(orders(validate="checksums"), [change("filter", bool)])


def test_tables_are_named_as_in_the_configuration() -> None:
    declared = Declared([Change("filter", "[DBO].[Orders]", "f", bool)])
    assert len(declared.of_table("dbo.orders")) == 1
    assert declared.unknown_tables(["dbo.orders"]) == []
    assert "the tables are dbo.other" in declared.unknown_tables(["dbo.other"])[0]
