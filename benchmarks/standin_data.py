"""Fills a stand-in with the benchmark's tables, a column at a time: `--load benchmarks.standin_data:fill`.

Rows of each table: BENCH_ROWS, as `narrow=1000000,wide=100000`.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from benchmarks.data import create_source_table

_START = dt.datetime(2020, 1, 1)
_UTC = dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def fill(database: Any) -> None:
    """Create and fill the tables that BENCH_ROWS names."""
    for part in os.environ["BENCH_ROWS"].split(","):
        table, _, rows = part.partition("=")
        database.execute(create_source_table(table))
        database.load_columns(f"dbo.{table}", _COLUMNS[table](int(rows)))


def _narrow(rows: int) -> dict[str, Any]:
    ids = np.arange(rows, dtype=np.int64)
    return {
        "id": ids,
        "qty": (ids % 1000).astype(np.int32),
        "code": [f"C{n % 100_000}" for n in range(rows)],
        "amount": ids * 10_000 // 7,  # scaled by 10,000
        "at": np.datetime64("2020-01-01", "us") + ids * 1_000_003,
        "note": [None if n % 50 == 0 else f"note {n} - grün und länger als nötig" for n in range(rows)],
    }


def _wide(rows: int) -> dict[str, Any]:
    moments = [_START + dt.timedelta(seconds=n, microseconds=n) for n in range(rows)]
    return {
        "id": list(range(rows)),
        "a_bit": [n % 2 == 0 for n in range(rows)],
        "a_tinyint": [n % 256 for n in range(rows)],
        "a_smallint": [n % 30_000 for n in range(rows)],
        "an_int": list(range(rows)),
        "a_decimal": [Decimal(n) / 8 for n in range(rows)],
        "a_money": [Decimal(n) / 16 for n in range(rows)],
        "a_float": [n / 3 for n in range(rows)],
        "a_real": [float(n) for n in range(rows)],
        "a_date": [moment.date() for moment in moments],
        "a_time": [moment.time() for moment in moments],
        "a_datetime": [_START + dt.timedelta(seconds=n) for n in range(rows)],
        "a_datetime2": moments,
        "an_offset": [_UTC + dt.timedelta(seconds=n) for n in range(rows)],
        "a_guid": [uuid.UUID(int=n * 2**90 + n) for n in range(rows)],
        "a_varchar": [f"value {n} of a column that is not too short" for n in range(rows)],
        "an_nvarchar": [None if n % 20 == 0 else f"größe {n}" for n in range(rows)],
        "a_text": [None if n % 10 == 0 else f"text ü {n} " * 20 for n in range(rows)],
        "a_blob": [None if n % 10 == 5 else n.to_bytes(8, "big") * 25 for n in range(rows)],
    }


def _texts(rows: int) -> dict[str, Any]:
    return {"id": list(range(rows)), "body": [f"lorem ipsum {n:06} " * 1_105 for n in range(rows)]}


_COLUMNS: dict[str, Callable[[int], dict[str, Any]]] = {"narrow": _narrow, "wide": _wide, "texts": _texts}
