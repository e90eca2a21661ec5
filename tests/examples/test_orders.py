"""examples/orders: tables of four shards."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from etl_cli.sandbox import every_type, shop
from etl_cli.sandbox.sandbox import DATABASE
from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.examples import Example
from tests.support.source import Server, TestShard

SHARDS = range(1, 5)


def customers() -> Iterator[tuple[Any, ...]]:
    for shard in SHARDS:
        for *cells, reference, created_at, notes in shop.customers(shard):
            yield (*cells, uuid.UUID(str(reference)), created_at, notes, f"shard{shard}")


def orders() -> Iterator[tuple[Any, ...]]:
    for shard in SHARDS:
        for (*cells, ordered_at, updated_at), _ in shop.orders(shard):
            at = dt.datetime.strptime(str(ordered_at), "%Y-%m-%d %H:%M:%S.%f %z")
            yield (*cells, at, updated_at, f"shard{shard}")


def order_lines() -> Iterator[tuple[Any, ...]]:
    for shard in SHARDS:
        for _, lines in shop.orders(shard):
            yield from ((*line, f"shard{shard}") for line in lines)


def events(sink: SinkDatabase) -> list[dict[str, Any]]:
    """As the texts that Postgres prints."""
    names = list(next(iter(every_type.expected_rows())))
    listed = ", ".join(f'"{name}"::text' for name in names)
    with sink.connect() as connection:
        connection.execute("SET timezone TO 'UTC'")
        rows = connection.execute(f"SELECT {listed} FROM events ORDER BY id::int, shard").fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def assert_all_there(sink: SinkDatabase) -> None:
    assert rows_of(sink, "SELECT * FROM customers ORDER BY shard, id") == list(customers())
    assert rows_of(sink, "SELECT * FROM orders ORDER BY shard, id") == list(orders())
    assert rows_of(sink, "SELECT * FROM order_lines ORDER BY shard, order_id, line") == list(order_lines())
    assert events(sink) == [row for row in every_type.expected_rows() for _ in SHARDS]


def changes(data: Any) -> dict[str, tuple[int | None, ...]]:
    return {
        table["source"]: (table["inserted"], table["updated"], table["deleted"])
        for table in data["tables"]
        if table["source"] in ("dbo.orders", "dbo.order_lines")
    }


def test_every_row_of_every_shard_arrives_once_and_later_runs_bring_what_has_changed(
    shop: list[Server], sink: SinkDatabase, example: Callable[..., Example]
) -> None:
    orders = example("orders", shop)
    orders.is_ready()
    orders.runs()
    assert_all_there(sink)

    again = orders.runs("--json").data
    assert changes(again) == {"dbo.orders": (0, 0, 0), "dbo.order_lines": (0, 0, 0)}
    assert_all_there(sink)

    TestShard("shard2", shop[1], DATABASE).execute(
        "UPDATE dbo.orders SET status = 'returned', total = 0, updated_at = '2030-01-01' WHERE id = 7",
        "DELETE FROM dbo.order_lines WHERE order_id = 7",
    )
    gone = sum(line[0] == 7 and line[-1] == "shard2" for line in order_lines())
    changed = orders.runs("--json").data
    assert changes(changed) == {"dbo.orders": (0, 1, 0), "dbo.order_lines": (0, 0, gone)}
    assert rows_of(sink, "SELECT shard, id, status, total FROM orders WHERE updated_at = '2030-01-01'") == [
        ("shard2", 7, "returned", 0)
    ]
    assert rows_of(sink, "SELECT count(*) FROM order_lines WHERE (order_id, shard) = (7, 'shard2')") == [(0,)]
