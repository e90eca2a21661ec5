"""What one writes by hand: pyodbc fetchmany and psycopg executemany, a process a shard.

python -m benchmarks.executemany TABLE SOURCES SINK_PORT
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import struct
import sys
import time

import psycopg
import pyodbc

from benchmarks.data import COLUMNS, LOGIN, SINK, create_sink_table
from etl_cli.runtime.source.driver import microsoft_driver

FETCH_ROWS = 10_000


def copy_shard(table: str, number: int, source: str, sink_port: int) -> None:
    """Copy one shard's table."""
    host, _, port = source.rpartition(":")
    connection = pyodbc.connect(
        f"DRIVER={{{microsoft_driver()}}};SERVER={host},{port};DATABASE=sourcedb;"
        f"UID={LOGIN[0]};PWD={LOGIN[1]};Encrypt=no;"
    )
    names = COLUMNS[table]
    marks = ", ".join(["%s"] * (len(names) + 1))
    insert = f"INSERT INTO plain_{table} ({', '.join(names)}, shard) VALUES ({marks})"
    connection.add_output_converter(-155, _datetimeoffset)
    cursor = connection.execute(f"SELECT {', '.join(names)} FROM dbo.{table}")
    with psycopg.connect(SINK.format(port=sink_port)) as sink:
        while rows := cursor.fetchmany(FETCH_ROWS):
            sink.cursor().executemany(insert, [(*row, f"shard{number}") for row in rows])
            sink.commit()


def _datetimeoffset(raw: bytes) -> dt.datetime:
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", raw)
    zone = dt.timezone(dt.timedelta(hours=hours, minutes=minutes))
    return dt.datetime(year, month, day, hour, minute, second, nanoseconds // 1000, zone)


def main() -> None:
    """Copy all shards at once, then build the key."""
    table, sources, sink_port = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
    create_sink_table(f"plain_{table}", table, sink_port)
    began = time.perf_counter()
    processes = [
        multiprocessing.Process(target=copy_shard, args=(table, n, source, sink_port))
        for n, source in enumerate(sources, start=1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with psycopg.connect(SINK.format(port=sink_port), autocommit=True) as sink:
        sink.execute(f"ALTER TABLE plain_{table} ADD PRIMARY KEY (id, shard)")
        seconds = time.perf_counter() - began
        row = sink.execute(f"SELECT count(*) FROM plain_{table}").fetchone()
    print(json.dumps({"seconds": seconds, "rows": row[0] if row else 0}))


if __name__ == "__main__":
    main()
