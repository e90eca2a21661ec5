"""examples/orders-csv: an own source and an own writer, each row once whatever dies."""

from __future__ import annotations

import csv
import datetime as dt
import json
import subprocess
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.examples import Example
from tests.support.waiting import until

Make = Callable[..., Example]


def paid(orders: Example) -> list[tuple[Any, ...]]:
    """What is to arrive of data/orders.csv."""
    with (orders.path / "data" / "orders.csv").open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["status"] == "paid"]
    return [
        (
            int(line["id"]),
            line["customer"],
            dt.date.fromisoformat(line["ordered_on"]),
            "paid",
            Decimal(line["amount"]),
            Decimal(int(line["amount"].replace(".", "")) * 119) / 10_000,
        )
        for line in lines
    ]


def in_table(sink: SinkDatabase) -> list[tuple[Any, ...]]:
    return rows_of(sink, "SELECT id, customer, ordered_on, status, amount, gross FROM paid_orders ORDER BY id")


def in_file(orders: Example) -> list[tuple[Any, ...]]:
    text = (orders.path / "paid_orders.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [
        (
            row["id"],
            row["customer"],
            dt.date.fromisoformat(row["ordered_on"]),
            row["status"],
            Decimal(row["amount"]),
            Decimal(row["gross"]),
        )
        for row in map(json.loads, text.splitlines())
    ]


def assert_each_row_once(orders: Example, sink: SinkDatabase) -> None:
    wanted = paid(orders)
    assert wanted
    assert in_table(sink) == wanted
    assert in_file(orders) == wanted


def append(orders: Example, lines: Iterable[str]) -> None:
    with (orders.path / "data" / "orders.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_paid_orders_arrive_with_tax_in_both_places(sink: SinkDatabase, example: Make) -> None:
    orders = example("orders-csv")
    orders.is_ready()
    orders.runs()
    assert_each_row_once(orders, sink)
    types = rows_of(
        sink,
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'paid_orders'::regclass AND attnum > 0",
    )
    assert {"amount": "numeric(12,2)", "gross": "numeric(14,4)", "ordered_on": "date"}.items() <= dict(types).items()


def test_a_second_run_adds_nothing_and_a_third_what_is_new(sink: SinkDatabase, example: Make) -> None:
    orders = example("orders-csv")
    orders.runs()
    stored, written = rows_of(sink, "SELECT id, xmin::text FROM paid_orders"), in_file(orders)
    orders.runs()
    assert rows_of(sink, "SELECT id, xmin::text FROM paid_orders") == stored
    assert in_file(orders) == written
    append(orders, ["15,Zoë,2026-02-01,0.01,paid", "16,Zoë,2026-02-01,1.00,new"])
    orders.runs()
    assert len(in_table(sink)) == len(stored) + 1
    assert_each_row_once(orders, sink)


def test_a_line_that_does_not_fit_is_named(sink: SinkDatabase, example: Make) -> None:
    orders = example("orders-csv")
    append(orders, ["15,Zoë,2026-02-01,a lot,paid"])
    done = orders.etl("run")
    assert done.code == 1
    assert "id = 15" in done.err, done.err
    assert "amount: Input should be a valid decimal" in done.err, done.err


# In the place of the writer's last lines: half a row more, then an end of some kind, at each of these orders once.
DYING = """
        for mark in (OUTPUT.parent / f"died-{row['id']}" for row in batch.to_pylist() if row["id"] in (30, 60, 90)):
            if not mark.exists():
                file.write(b'{"id": 123, "customer": "half a r')
                file.flush()
                mark.touch()
                {end}
        file.flush()
"""

ENDS = {
    "the writer raises": 'raise OSError("the disk is full")',
    "its process is killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "the run is killed": "import time; time.sleep(60)",
}


def dying(orders: Example, end: str) -> list[Path]:
    """Have its writer end so in mid-file three times; the marks that say that it has."""
    append(
        orders,
        (f'{n},"Zoë, {n}",2026-02-01,{n}.{n % 100:02d},{"new" if n % 7 == 0 else "paid"}' for n in range(15, 121)),
    )
    orders.patch("        file.flush()\n", DYING.replace("{end}", ENDS[end]).lstrip("\n"))
    return [orders.path / f"died-{number}" for number in (30, 60, 90)]


@pytest.mark.parametrize("end", ["the writer raises", "its process is killed"])
def test_a_writer_that_dies_in_mid_file_leaves_each_row_once(end: str, sink: SinkDatabase, example: Make) -> None:
    orders = example("orders-csv")
    marks = dying(orders, end)
    orders.runs()
    assert all(mark.exists() for mark in marks)
    assert_each_row_once(orders, sink)
    assert rows_of(sink, "SELECT count(*) FROM etl.runs") == [(1,)]


@pytest.mark.parametrize("end", ["the writer raises", "its process is killed"])
def test_a_run_that_failed_in_mid_file_is_resumed_with_each_row_once(
    end: str, sink: SinkDatabase, example: Make
) -> None:
    orders = example("orders-csv")
    marks = dying(orders, end)
    orders.patch('key="id", ', 'key="id", attempts=1, ')
    for mark in marks:
        assert orders.etl("run", "--resume").code == 1
        assert mark.exists()
    orders.runs("--resume")
    assert_each_row_once(orders, sink)
    assert rows_of(sink, "SELECT state, count(*) FROM etl.runs GROUP BY 1 ORDER BY 1") == [
        ("failed", 3),
        ("succeeded", 1),
    ]


def test_a_run_that_was_killed_in_mid_file_is_resumed_with_each_row_once(sink: SinkDatabase, example: Make) -> None:
    orders = example("orders-csv")
    for mark in dying(orders, "the run is killed"):
        command, quiet = orders.command("run", "--resume"), subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=orders.path, env=orders.environment(), stdout=quiet, stderr=quiet
        ) as process:
            until(mark.exists)
            process.kill()
        assert not (orders.path / "paid_orders.jsonl").read_text().endswith("\n")
    orders.runs("--resume")
    assert_each_row_once(orders, sink)
    assert rows_of(sink, "SELECT state, attempt FROM etl.runs") == [("succeeded", 4)]


def test_a_run_that_failed_and_is_not_resumed_is_no_harm(sink: SinkDatabase, example: Make) -> None:
    orders = example("orders-csv")
    dying(orders, "the writer raises")
    orders.patch('key="id", ', 'key="id", attempts=1, ')
    for _ in range(3):
        assert orders.etl("run").code == 1
    orders.runs()
    assert_each_row_once(orders, sink)
