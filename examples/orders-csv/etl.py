"""orders-csv: reads orders from a CSV file and writes the paid ones, with tax, to Postgres and to a JSON lines file."""

import csv
import json
from datetime import date
from decimal import Decimal
from itertools import islice

from pydantic import BaseModel

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)
INPUT = pipeline.directory / "data" / "orders.csv"
OUTPUT = pipeline.directory / "paid_orders.jsonl"


class Order(BaseModel):
    """A line of the file; gives the columns their types, and says what is wrong with a line that does not fit."""

    id: int
    customer: str
    ordered_on: date
    amount: Decimal
    status: str


@pipeline.extract("orders", target="paid_orders", key="id", model=Order, columns={"amount": "numeric(12,2)"})
def orders(position):
    done = position or 0  # lines that are recorded already, where an earlier try has failed
    with INPUT.open(newline="", encoding="utf-8") as file:
        lines = islice(csv.DictReader(file), done, None)
        while page := list(islice(lines, 5)):
            done += len(page)
            yield page, done


@pipeline.filter("orders")
def paid(row):
    return row["status"] == "paid"


@pipeline.map("orders", columns={"gross": "numeric(14,4)"})
def gross(row):
    return {**row, "gross": row["amount"] * Decimal("1.19")}


@pipeline.load("orders")
def to_file(batch, last):
    with OUTPUT.open("ab") as file:
        file.truncate(last or 0)  # `last` is the length that is recorded: what a try that failed wrote after it goes
        for row in batch.to_pylist():
            file.write(json.dumps(row, default=str, ensure_ascii=False).encode() + b"\n")
        file.flush()
        return file.tell()


if __name__ == "__main__":
    pipeline.main()
