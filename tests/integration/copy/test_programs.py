"""What an etl.py declares for the rows of a table: transforms, maps, filters, models."""

from __future__ import annotations

from decimal import Decimal

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.programs import assert_told_in_a_line, program
from tests.support.source import Shards

TABLE = (
    "CREATE TABLE dbo.Orders (Id int NOT NULL PRIMARY KEY, Paid bit NOT NULL, Amount decimal(10,2) NULL,"
    " Name nvarchar(20) NULL, At datetime2(6) NULL, Code uniqueidentifier NULL)",
    "INSERT INTO dbo.Orders VALUES"
    " (1, 1, 10.00, N'  Ann ', '2026-01-01', '11111111-1111-1111-1111-111111111111'),"
    " (2, 0, 20.50, N'Bob', '2026-01-02', NULL), (3, 1, NULL, NULL, NULL, NULL)",
)
ORDERS = {"source": "dbo.Orders", "target": "orders"}


@pytest.fixture
def orders(shards: Shards) -> Shards:
    shards.execute(*TABLE)
    return shards


def one_shard(sink: SinkDatabase, columns: str) -> list[tuple[object, ...]]:
    return rows_of(sink, f"SELECT {columns} FROM orders WHERE shard = 'shard2' ORDER BY id")


def test_a_map_adds_takes_away_and_drops(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = program(
        pipeline(ORDERS),
        """
        from decimal import Decimal

        @pipeline.filter("dbo.orders")
        def paid(row):
            return row["Paid"]

        @pipeline.map("dbo.orders", columns={"Gross": "numeric(12,4)", "Paid": None})
        def gross(row):
            amount = row["Amount"]
            del row["Paid"]
            return {**row, "Gross": amount and amount * Decimal("1.19")}
        """,
    )
    outcome = directory.run()
    assert one_shard(sink, "id, name, amount, gross") == [
        (1, "  Ann ", Decimal("10.00"), Decimal("11.9000")),
        (3, None, None, None),
    ]
    assert rows_of(sink, "SELECT count(*), count(DISTINCT shard) FROM orders") == [(8, 4)]
    assert (outcome.totals.rows_read, outcome.totals.rows_loaded) == (12, 8)
    assert rows_of(sink, "SELECT DISTINCT note FROM etl.tasks") == [("etl.py: 1 rows dropped",)]


def test_a_transform_gives_the_target_its_columns(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = program(
        pipeline(ORDERS),
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        @pipeline.transform("dbo.Orders")
        def clean(batch):
            trimmed = pc.utf8_trim_whitespace(batch.column("Name"))
            batch = batch.set_column(batch.schema.get_field_index("Name"), "Name", trimmed)
            return batch.append_column("Length", pc.utf8_length(trimmed).cast(pa.int64()))
        """,
    )
    directory.run()
    assert one_shard(sink, "id, name, length, code::text") == [
        (1, "Ann", 3, "11111111-1111-1111-1111-111111111111"),
        (2, "Bob", 3, None),
        (3, None, None, None),
    ]
    kinds = rows_of(
        sink,
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'orders'::regclass AND attname IN ('length', 'code', 'amount') ORDER BY 1",
    )
    assert kinds == [("amount", "numeric(10,2)"), ("code", "uuid"), ("length", "bigint")]
    assert rows_of(sink, "SELECT DISTINCT note FROM etl.tasks") == [(None,)]


def test_a_map_fans_out_under_a_key_of_its_own(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = program(
        pipeline({**ORDERS, "mode": "upsert", "cursor": "Id"}),
        """
        @pipeline.map("dbo.orders", columns={"Part": "integer"}, key=["Id", "Part"])
        def parts(row):
            return [{**row, "Part": part} for part in range(row["Id"])]
        """,
    )
    directory.run()
    assert one_shard(sink, "id, part") == [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    orders.execute("UPDATE dbo.Orders SET Name = N'new' WHERE Id = 2")
    assert directory.cli("run", "--full").code == 0
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE name = 'new'") == [(8,)]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(24,)]


def test_a_failing_row_is_named_or_rejected(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    body = """
        @pipeline.map("dbo.orders")
        def fine(row):
            return row

        @pipeline.map("dbo.orders")
        def clean_orders(row):
            row["Name"] = row["Name"].strip()
            return row
        """
    with pytest.raises(EtlError) as caught:
        program(pipeline(ORDERS), body).run()
    told = str(caught.value)
    for wanted in ('step[2] "clean_orders" failed', "AttributeError", "Id = 3", "dbo.Orders of shard"):
        assert wanted in told
    directory = program(pipeline({**ORDERS, "on_bad_row": "reject", "max_rejects": 4}), body)
    directory.run()
    assert one_shard(sink, "id, name") == [(1, "Ann"), (2, "Bob")]
    rejects = rows_of(sink, "SELECT key, reason FROM etl.rejects WHERE shard = 'shard2'")
    assert [(key, 'step[2] "clean_orders" failed' in reason) for key, reason in rejects] == [({"Id": "3"}, True)]


def test_rows_that_do_not_fit_a_model_follow_on_bad_row(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    body = """
        from decimal import Decimal
        from pydantic import BaseModel

        class Order(BaseModel):
            Id: int
            Amount: Decimal

        pipeline.model("dbo.orders", Order)
        """
    with pytest.raises(EtlError, match=r'step\[1\] "Order" failed: does not fit the model: Amount'):
        program(pipeline(ORDERS), body).run()
    program(pipeline({**ORDERS, "on_bad_row": "reject", "max_rejects": 4}), body).run()
    assert one_shard(sink, "id") == [(1,), (2,)]


def test_deletes_of_mode_changes_pass_through(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    for shard in orders:
        shard.execute(
            f"ALTER DATABASE {shard.database} SET CHANGE_TRACKING = ON",
            "ALTER TABLE dbo.Orders ENABLE CHANGE_TRACKING",
        )
    directory = program(
        pipeline({**ORDERS, "mode": "changes"}),
        """
        @pipeline.map("dbo.orders", columns={"Twice": "integer"})
        def twice(row):
            return {**row, "Twice": 2 * row["Id"]}
        """,
    )
    directory.run()
    orders.execute("DELETE FROM dbo.Orders WHERE Id = 1", "UPDATE dbo.Orders SET Name = N'x' WHERE Id = 2")
    directory.run()
    assert one_shard(sink, "id, name, twice") == [(2, "x", 4), (3, None, 6)]


WRONG = {
    "no such table": ('@pipeline.map("dbo.other")\ndef f(row): return row', "no such table is copied"),
    "a signature": ('@pipeline.map("dbo.orders")\ndef f(row, more): return row', "cannot be called with a row alone"),
    "no name": ("@pipeline.map\ndef f(row): return row", "wants a table's name"),
    "another type": ('@pipeline.transform("dbo.orders")\ndef f(batch): return 7', "gives back int, not a record batch"),
    "nothing": ('@pipeline.transform("dbo.orders")\ndef f(batch): pass', "gives back NoneType"),
    "the key away": (
        '@pipeline.transform("dbo.orders")\ndef f(batch): return batch.drop_columns(["Id"])',
        "takes the key's column Id away",
    ),
    "the key's type": (
        '@pipeline.transform("dbo.orders")\ndef f(batch):\n'
        ' return batch.set_column(0, "Id", batch.column(0).cast("int64"))',
        "makes the key's column Id int64",
    ),
    "another key": (
        '@pipeline.map("dbo.orders")\ndef f(row): return {**row, "Id": row["Id"] + 1}',
        "changes the key's column Id",
    ),
    "an unknown column": (
        '@pipeline.map("dbo.orders")\ndef f(row): return {**row, "more": 1}',
        "gives a column more that is not declared",
    ),
    "a value of another type": (
        '@pipeline.map("dbo.orders")\ndef f(row): return {**row, "Amount": "much"}',
        "column Amount",
    ),
    "a row that is none": ('@pipeline.map("dbo.orders")\ndef f(row): return 7', "gives back int, not a row"),
    "a type without a place": (
        'import pyarrow as pa\n@pipeline.transform("dbo.orders")\n'
        'def f(batch): return batch.append_column("x", pa.nulls(batch.num_rows, pa.list_(pa.int32())))',
        "which has no place in Postgres",
    ),
    "a program that does not load": ("1 / 0", "etl.py, line 4: ZeroDivisionError"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_program_is_told_in_a_line_and_leaves_the_target_alone(
    wrong: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    body, wanted = WRONG[wrong]
    pipeline(ORDERS).run()
    orders.execute("UPDATE dbo.Orders SET Name = N'new'")
    assert_told_in_a_line(program(pipeline(ORDERS), body), wanted)
    assert rows_of(sink, "SELECT count(*) FROM orders WHERE name = 'new'") == [(0,)]
