"""The bare minimum: Arrow reader -> pgpq -> COPY, a thread a shard, the same key built afterwards.

Nothing else around it: no ledger, no chunks, no counts, no checks. Prints seconds from the first read to
the key as JSON.

    python -m benchmarks.bare TABLE SOURCE_PORTS SINK_PORT
"""

from __future__ import annotations

import json
import sys
import threading
import time

import mssql_python
import pgpq
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.data import COLUMNS, LOGIN, SINK, create_sink_table

BATCH_ROWS = 16_384


def copy_shard(table: str, number: int, host: str, port: int, sink_port: int) -> None:
    """Copy one shard's table in one COPY."""
    source = mssql_python.connect(
        f"SERVER={host},{port};DATABASE=sourcedb;UID={LOGIN[0]};PWD={LOGIN[1]};Encrypt=no;", autocommit=True
    )
    names = ", ".join(COLUMNS[table])
    with psycopg.connect(SINK.format(port=sink_port)) as sink, source.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM dbo.{table} ORDER BY id")
        with sink.cursor().copy(f"COPY bare_{table} ({names}, shard) FROM STDIN (FORMAT BINARY)") as copy:
            encoder = None
            while (batch := cursor.arrow_batch(BATCH_ROWS)).num_rows:
                wire = _wire(batch, f"shard{number}")
                if encoder is None:
                    encoder = pgpq.ArrowToPostgresBinaryEncoder(wire.schema)
                    copy.write(encoder.write_header())
                copy.write(encoder.write_batch(wire))
                if batch.num_rows < BATCH_ROWS:
                    break
            if encoder is not None:
                copy.write(encoder.finish())
    source.close()


def _wire(batch: pa.RecordBatch, shard: str) -> pa.RecordBatch:
    """Only what the encoder cannot do itself: times, guids, tinyint, and the shard's column."""
    arrays = [_column(array) if array.type in _CONVERTED else array for array in batch.columns]
    arrays = [
        _guid(array) if field.name == "a_guid" else array for field, array in zip(batch.schema, arrays, strict=True)
    ]
    arrays.append(pa.repeat(pa.scalar(shard), batch.num_rows))
    return pa.RecordBatch.from_arrays(arrays, names=[*batch.schema.names, "shard"])


_CONVERTED = (pa.time64("ns"), pa.uint8())


def _column(array: pa.Array) -> pa.Array:
    if array.type == pa.uint8():
        return array.cast(pa.int16())
    return pc.divide(array.view(pa.int64()), 1000).view(pa.time64("us"))


def _guid(array: pa.Array) -> pa.Array:
    """All values are there in the benchmark's data, each of 36 characters."""
    text = array.buffers()[2].slice(0, 36 * len(array)).to_pybytes()
    raw = bytes.fromhex(text.replace(b"-", b"").decode())
    return pa.Array.from_buffers(pa.binary(16), len(array), [None, pa.py_buffer(raw)])


def main() -> None:
    """Copy all shards at once, then build the key."""
    table, sources, sink_port = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
    create_sink_table(f"bare_{table}", table, sink_port)
    began = time.perf_counter()
    threads = [
        threading.Thread(target=copy_shard, args=(table, n, *_address(source), sink_port))
        for n, source in enumerate(sources, start=1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(SINK.format(port=sink_port), autocommit=True) as sink:
        sink.execute(f"ALTER TABLE bare_{table} ADD PRIMARY KEY (id, shard)")
        seconds = time.perf_counter() - began
        row = sink.execute(f"SELECT count(*) FROM bare_{table}").fetchone()
    print(json.dumps({"seconds": seconds, "rows": row[0] if row else 0}))


def _address(source: str) -> tuple[str, int]:
    host, _, port = source.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
