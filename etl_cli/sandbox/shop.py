"""A small shop, different on each shard: customers, orders, order lines, and events of every type.

Written in T-SQL through pyodbc, so that the same seeding serves the stand-ins, the containers of
docker-compose-source.yml and any other server. The rows are the same at every seeding.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from decimal import Decimal

import pyodbc

from etl_cli.sandbox import every_type

CUSTOMERS = 500
ORDERS = 2_000

_FIRST = ("Ada", "Björn", "Chloé", "Dmitri", "Emre", "Fatima", "Grace", "Håkon", "Inês", "Jürgen", "Keiko", "Łukasz")
_LAST = ("Lovelace", "Ångström", "Dupré", "Ivanov", "Yılmaz", "al-Fihri", "Hopper", "O'Neill", "Sørensen", "東京", "😀")
_PRODUCTS = ("lamp", "chair", "desk", "cup", "plant pot", "blanket", "clock", "candle")
_STATES = ("new", "paid", "shipped", "returned")

TABLES = ("dbo.order_lines", "dbo.orders", "dbo.customers", "dbo.events")
"""In the order in which they can be dropped."""

_CREATE = (
    """CREATE TABLE dbo.customers (
    id int NOT NULL PRIMARY KEY,
    name nvarchar(100) NOT NULL,
    email varchar(120) NULL,
    country char(2) NOT NULL,
    credit_limit money NULL,
    is_active bit NOT NULL,
    reference uniqueidentifier NOT NULL,
    created_at datetime2(7) NOT NULL,
    notes nvarchar(max) NULL
)""",
    """CREATE TABLE dbo.orders (
    id bigint NOT NULL PRIMARY KEY,
    customer_id int NOT NULL,
    status varchar(16) NOT NULL,
    total decimal(18,4) NOT NULL,
    ordered_at datetimeoffset(3) NOT NULL,
    updated_at datetime2(7) NOT NULL
)""",
    """CREATE TABLE dbo.order_lines (
    order_id bigint NOT NULL,
    line int NOT NULL,
    product nvarchar(60) NOT NULL,
    quantity smallint NOT NULL,
    price smallmoney NOT NULL,
    CONSTRAINT PK_order_lines PRIMARY KEY (order_id, line)
)""",
)

_COMMENTS = (
    ("customers", None, "Who buys; one row a person"),
    ("customers", "credit_limit", "In euros; NULL = none agreed"),
    ("orders", None, "What was ordered; the total includes tax"),
    ("orders", "status", "new, paid, shipped or returned"),
)


def seed(connection: pyodbc.Connection, shard: int, *, portable_only: bool = False) -> None:
    """Create and fill the shop on one server, as shard number `shard` (from 1).

    `portable_only` leaves out the types that only SQL Server itself has.
    """
    for table in TABLES:
        connection.execute(f"IF OBJECT_ID(N'{table}', N'U') IS NOT NULL DROP TABLE {table}")
    for statement in _CREATE:
        connection.execute(statement)
    connection.execute(every_type.create_table("dbo.events", portable_only=portable_only))
    for table, column, text in _COMMENTS:
        _comment(connection, table, column, text)
    with connection.cursor() as cursor:
        cursor.fast_executemany = True
        cursor.executemany("INSERT INTO dbo.customers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", list(customers(shard)))
        rows = list(orders(shard))
        cursor.executemany("INSERT INTO dbo.orders VALUES (?, ?, ?, ?, ?, ?)", [order for order, _ in rows])
        lines = [line for _, lines in rows for line in lines]
        cursor.executemany("INSERT INTO dbo.order_lines VALUES (?, ?, ?, ?, ?)", lines)
    for statement in every_type.insert_rows("dbo.events", portable_only=portable_only):
        connection.execute(statement)


def customers(shard: int) -> Iterator[tuple[object, ...]]:
    """Rows of dbo.customers. Ids begin at 1 on every shard, as they do where shards count for themselves."""
    chance = random.Random(shard)
    for number in range(1, CUSTOMERS + 1):
        name = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
        yield (
            number,
            name,
            f"customer{number}@shard{shard}.example" if chance.random() > 0.1 else None,
            chance.choice(("DE", "FR", "NO", "TR", "JP", "PT")),
            Decimal(chance.randrange(0, 10_000_000)) / 10_000 if chance.random() > 0.3 else None,
            chance.random() > 0.05,
            str(uuid.UUID(int=chance.getrandbits(128))),
            _moment(chance),
            "" if number % 50 == 0 else "long note " * chance.randrange(1, 60) if number % 7 == 0 else None,
        )


def orders(shard: int) -> Iterator[tuple[tuple[object, ...], list[tuple[int, int, str, int, Decimal]]]]:
    """Rows of dbo.orders, each with its lines."""
    chance = random.Random(1_000 + shard)
    for number in range(1, ORDERS + 1):
        lines: list[tuple[int, int, str, int, Decimal]] = [
            (
                number,
                line,
                chance.choice(_PRODUCTS),
                chance.randrange(1, 12),
                Decimal(chance.randrange(1, 900_000)) / 10_000,
            )
            for line in range(1, chance.randrange(2, 6))
        ]
        total = sum((Decimal(quantity) * price for _, _, _, quantity, price in lines), Decimal(0))
        moment = _moment(chance)
        status = chance.choice(_STATES)
        customer = chance.randrange(1, CUSTOMERS + 1)
        ordered_at = f"{moment:%Y-%m-%d %H:%M:%S}.000 +02:00"
        yield (number, customer, status, total, ordered_at, moment), lines


def _moment(chance: random.Random) -> dt.datetime:
    start = dt.datetime(2024, 1, 1)
    return start + dt.timedelta(microseconds=chance.randrange(0, 2 * 365 * 86_400_000_000))


def _comment(connection: pyodbc.Connection, table: str, column: str | None, text: str) -> None:
    place = f"N'SCHEMA', N'dbo', N'TABLE', N'{table}'" + (f", N'COLUMN', N'{column}'" if column else "")
    connection.execute(f"EXEC sys.sp_addextendedproperty N'MS_Description', N'{text}', {place}")
