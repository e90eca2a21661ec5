"""Windows of an ordered scan and checksums: the same on loaded columns as on inserted rows, for every type of key."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import mssql_python
import numpy as np
import pyodbc
import pytest

from etl_cli.sandbox.standin import StandIn
from tests.integration.standin.drivers import microsoft_driver

ROWS = 400
MANY = 300_000
START = dt.datetime(2024, 1, 1)
COLUMNS = (
    "id bigint NOT NULL PRIMARY KEY, i int NULL, s smallint NOT NULL, y tinyint NOT NULL, d decimal(18,4) NULL, "
    "w decimal(38,10) NOT NULL, m money NOT NULL, da date NULL, ti time(3) NOT NULL, dt datetime NOT NULL, "
    "sd smalldatetime NOT NULL, d2 datetime2(7) NOT NULL, o datetimeoffset(7) NULL, g uniqueidentifier NULL, "
    "b8 binary(8) NOT NULL, vb varbinary(12) NULL, b3 binary(3) NOT NULL, long varbinary(40) NOT NULL, "
    "vc varchar(10) COLLATE Latin1_General_CI_AS NOT NULL, ch char(6) COLLATE Latin1_General_BIN2 NOT NULL, "
    "nv nvarchar(10) COLLATE Cyrillic_General_CI_AS NULL, nc nchar(5) NOT NULL, bi bit NOT NULL, f float NOT NULL, "
    "r real NOT NULL, body nvarchar(max) NULL, h hierarchyid NULL, p geography NULL, zeros nvarchar(20) NOT NULL"
)


def columns() -> dict[str, Any]:
    """Values with NULLs, ties and every sign, in no order."""
    rng = random.Random(7)
    ids = list(range(1, ROWS + 1))
    rng.shuffle(ids)
    moments = [START + dt.timedelta(seconds=rng.randrange(10**6), microseconds=rng.randrange(10**6)) for _ in ids]
    zones = [dt.timezone(dt.timedelta(minutes=30 * rng.randrange(-20, 20))) for _ in ids]

    def sparse(values: list[Any]) -> list[Any]:
        return [None if rng.random() < 0.1 else value for value in values]

    return {
        "id": ids,
        "i": sparse([rng.randrange(-(2**31), 2**31) for _ in ids]),
        "s": [rng.randrange(-3, 3) for _ in ids],
        "y": [rng.randrange(256) for _ in ids],
        "d": sparse([Decimal(rng.randrange(-(10**9), 10**9)) / 10**4 for _ in ids]),
        "w": [Decimal(rng.randrange(-(10**30), 10**30)) / 10**4 for _ in ids],
        "m": [Decimal(rng.randrange(-(10**9), 10**9)) / 10**4 for _ in ids],
        "da": sparse([moment.date() for moment in moments]),
        "ti": [moment.time().replace(microsecond=moment.microsecond // 1000 * 1000) for moment in moments],
        "dt": [moment.replace(microsecond=rng.choice([0, 3000, 7000, 997000])) for moment in moments],
        "sd": [moment.replace(second=0, microsecond=0) for moment in moments],
        "d2": moments,
        "o": sparse([moment.replace(tzinfo=zone) for moment, zone in zip(moments, zones, strict=True)]),
        "g": sparse([uuid.UUID(int=rng.getrandbits(128)) for _ in ids]),
        "b8": [rng.randrange(2000, 3000).to_bytes(8, "big") for _ in ids],
        "vb": sparse([rng.randbytes(rng.randrange(5)) + b"\0" * rng.randrange(3) for _ in ids]),
        "b3": [rng.randbytes(3) for _ in ids],
        "long": [rng.randbytes(rng.randrange(15, 40)) for _ in ids],
        "vc": [rng.choice(["a", "B", "c", "é", "Z"]) + str(rng.randrange(50)) for _ in ids],
        "ch": [rng.choice("abCD") * rng.randrange(1, 6) for _ in ids],
        "nv": sparse([rng.choice(["а", "Б", "в"]) + str(rng.randrange(30)) for _ in ids]),
        "nc": [rng.choice(["x", "Y", "ж"]) * rng.randrange(1, 5) for _ in ids],
        "bi": [rng.random() < 0.5 for _ in ids],
        "f": [rng.choice([-1, 1]) * rng.random() * 10.0 ** rng.randrange(-300, 300) for _ in ids],
        "r": [float(np.float32(rng.random() * 100)) for _ in ids],
        "body": sparse(["größe ж 😀 " * rng.randrange(0, 1200) for _ in ids]),
        "h": sparse([f"/{number}/" for number in ids]),
        "p": sparse([f"POINT({number % 90} 1)" for number in ids]),
        "zeros": [rng.choice(["a\0b", "plain", "\0"]) + str(number) for number in ids],
    }


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    return columns()


@pytest.fixture(scope="module")
def server(source: dict[str, Any]) -> Iterator[StandIn]:
    """dbo.loaded answers from its columns; dbo.inserted has the same rows, few enough to be read one by one."""
    with StandIn(port=0) as server:
        for name in ("loaded", "inserted"):
            server.database.execute(f"CREATE TABLE dbo.{name} ({COLUMNS})")
        server.database.load_columns("dbo.loaded", source)
        server.database.execute("INSERT INTO dbo.inserted SELECT * FROM dbo.loaded")
        assert server.database.memory("dbo.inserted")["rows"] == 0
        assert server.database.memory("dbo.loaded")["rows"] == ROWS
        yield server


@pytest.fixture(scope="module")
def connection(server: StandIn) -> Iterator[pyodbc.Connection]:
    text = server.connection_string(microsoft_driver(), Encrypt="no")
    with closing(pyodbc.connect(text, autocommit=True, timeout=10)) as connection:
        yield connection


Both = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def both(connection: pyodbc.Connection) -> Both:
    """Runs a query over {t} on both tables, checks that they answer alike, and returns the rows."""

    def run(query: str) -> list[tuple[Any, ...]]:
        first, second, again = (
            [tuple(row) for row in connection.execute(query.format(t=f"[dbo].[{name}]")).fetchall()]
            for name in ("inserted", "loaded", "loaded")
        )
        assert first == second == again
        return first

    return run


def moment(kind: str) -> tuple[str, str]:
    return f"CONVERT({kind}, N'{{}}', 121)", "CONVERT(varchar(34), [{}], 121)"


def number(kind: str) -> tuple[str, str]:
    return f"CONVERT({kind}, N'{{}}')", "CONVERT(nvarchar(4000), [{}])"


def data(kind: str) -> tuple[str, str]:
    return f"CONVERT({kind}, N'{{}}', 1)", "CONVERT(varchar(100), [{}], 1)"


def text(kind: str, collation: str) -> tuple[str, str]:
    return f"CONVERT({kind}, N'{{}}' COLLATE {collation})", "CONVERT(nvarchar(4000), [{}])"


KEYS = {
    "id": number("bigint"), "i": number("int"), "s": number("smallint"), "y": number("tinyint"),
    "d": number("decimal(18,4)"), "w": number("decimal(38,10)"),
    "m": ("CONVERT(money, N'{}')", "CONVERT(varchar(41), CONVERT(decimal(19,4), [{}]))"), "da": moment("date"),
    "ti": moment("time(3)"), "dt": moment("datetime"), "sd": moment("smalldatetime"), "d2": moment("datetime2(7)"),
    "o": moment("datetimeoffset(7)"), "g": number("uniqueidentifier"), "b8": data("binary(8)"),
    "vb": data("varbinary(12)"), "b3": data("binary(3)"), "long": data("varbinary(40)"),
    "vc": text("varchar(10)", "Latin1_General_CI_AS"), "ch": text("char(6)", "Latin1_General_BIN2"),
    "nv": text("nvarchar(10)", "Cyrillic_General_CI_AS"),
    "nc": text("nchar(5)", "SQL_Latin1_General_CP1_CI_AS"), "bi": number("bit"),
    "f": ("CONVERT(float, N'{}')", "CONVERT(varchar(40), [{}], 3)"),
}  # fmt: skip


def pivot(both: Both, column: str, place: int) -> str:
    """The constant that a row's position becomes."""
    literal, written = KEYS[column]
    [(found,)] = both(
        f"SELECT {written.format(column)} FROM {{t}} WHERE [{column}] IS NOT NULL "
        f"ORDER BY [{column}], [id] OFFSET {place} ROWS FETCH NEXT 1 ROWS ONLY"
    )
    return literal.format(str(found).replace("'", "''"))


@pytest.mark.parametrize("column", KEYS)
def test_a_window_of_each_type_of_key_is_exact(both: Both, column: str) -> None:
    low, high = pivot(both, column, 80), pivot(both, column, 290)
    ordered = [row[0] for row in both(f"SELECT [id] FROM {{t}} WHERE [{column}] IS NOT NULL ORDER BY [{column}], [id]")]
    start = both(f"SELECT COUNT_BIG(*) FROM {{t}} WHERE [{column}] < {low}")[0][0]
    equal = both(f"SELECT COUNT_BIG(*) FROM {{t}} WHERE [{column}] = {low}")[0][0]
    above = both(f"SELECT COUNT_BIG(*) FROM {{t}} WHERE [{column}] > {high}")[0][0]
    assert equal >= 1
    assert start <= 80 < start + equal
    window = f"([{column}] > {low} OR ([{column}] = {low} AND [id] > CONVERT(bigint, N'200')))"
    query = (
        f"SELECT [id], {KEYS[column][1].format(column)} AS [__etl_position_0] FROM {{t}} "
        f"WHERE ([{column}] >= {low} AND {window}) AND [{column}] <= {high} AND ([y] <> 300) ORDER BY [{column}], [id]"
    )
    tied = [number for number in ordered[start : start + equal] if number > 200]
    expected = tied + ordered[start + equal : len(ordered) - above]
    assert [row[0] for row in both(query)] == expected
    counted = query[query.index("FROM") : query.index(" ORDER BY")]
    assert both(f"SELECT COUNT_BIG(*) {counted}") == [(len(expected),)]


def test_four_nested_keys_bound_a_window(both: Both) -> None:
    keys = ["s", "vc", "d2", "id"]
    order = ", ".join(f"[{key}]" for key in keys)
    texts = ", ".join(KEYS[key][1].format(key) for key in keys)
    for place in (0, 57, 250):
        [found] = both(f"SELECT {texts} FROM {{t}} ORDER BY {order} OFFSET {place} ROWS FETCH NEXT 1 ROWS ONLY")
        values = [KEYS[key][0].format(value) for key, value in zip(keys, found, strict=True)]
        condition = f"[id] > {values[3]}"
        for key, value in reversed(list(zip(keys[:3], values[:3], strict=True))):
            condition = f"[{key}] > {value} OR ([{key}] = {value} AND ({condition}))"
        query = f"SELECT [id] FROM {{t}} WHERE ([s] >= {values[0]} AND ({condition}))"
        assert len(both(f"{query} ORDER BY {order}")) == ROWS - place - 1
        assert both(query.replace("[id] FROM", "COUNT_BIG(*) FROM")) == [(ROWS - place - 1,)]


def test_the_highest_position_is_told_as_text(both: Both, source: dict[str, Any]) -> None:
    highest = max(source["d2"])
    assert both("SELECT CONVERT(varchar(34), MAX([d2]), 121) FROM {t} WHERE [id] > CONVERT(bigint, N'0')") == [
        (f"{highest:%Y-%m-%d %H:%M:%S.%f}0",)
    ]
    assert both("SELECT CONVERT(varchar(34), MAX([d2]), 121) FROM {t} WHERE [id] < 0") == [(None,)]


def test_guid_windows_follow_sql_servers_order(both: Both, source: dict[str, Any]) -> None:
    def key(value: uuid.UUID) -> bytes:
        raw = value.bytes_le
        return raw[10:] + raw[8:10] + raw[6:8] + raw[4:6] + raw[:4]

    guids = sorted((value for value in source["g"] if value is not None), key=key)
    middle = guids[100]
    query = f"SELECT [g] FROM {{t}} WHERE [g] > CONVERT(uniqueidentifier, N'{middle}') ORDER BY [g]"
    assert [uuid.UUID(str(row[0])) for row in both(query)] == guids[101:]


def test_arrow_reads_a_window(server: StandIn, both: Both) -> None:
    query = (
        "SELECT [id], CONVERT(varchar(34), [d2], 121) AS p FROM {t} "
        "WHERE [d2] >= CONVERT(datetime2(7), N'2024-01-03', 121) ORDER BY [d2], [id]"
    )
    parts = {"SERVER": f"{server.host},{server.port}", "UID": server.user, "PWD": server.password,
             "DATABASE": "sourcedb", "Encrypt": "no"}  # fmt: skip
    with closing(mssql_python.connect(";".join(f"{key}={value}" for key, value in parts.items()))) as connection:
        cursor = connection.cursor()
        cursor.execute(query.format(t="dbo.loaded"))
        assert [tuple(row.values()) for row in cursor.arrow().to_pylist()] == both(query)


def test_a_window_of_many_rows_starts_at_once(server: StandIn, connection: pyodbc.Connection) -> None:
    """Generous bounds: the columnar path takes a twentieth of them, the row-by-row path more."""
    numbers = np.arange(MANY)
    server.database.execute(
        "CREATE TABLE dbo.many (id bigint NOT NULL PRIMARY KEY, at datetime2(7) NOT NULL, n varchar(20) NOT NULL)"
    )
    moments = np.datetime64("2024-01-01", "us") + np.random.default_rng(1).permutation(MANY) * 1000
    server.database.load_columns("dbo.many", {"id": numbers, "at": moments, "n": [f"n{n}" for n in numbers]})
    low = "CONVERT(datetime2(7), N'2024-01-01 00:01:00.0000000', 121)"
    query = (
        "SELECT [id], [at], [n], CONVERT(varchar(34), [at], 121) AS p FROM dbo.many "
        f"WHERE ([at] >= {low} AND ([at] > {low} OR ([at] = {low} AND [id] > CONVERT(bigint, N'5')))) "
        "ORDER BY [at], [id]"
    )
    for bound in (3.0, 0.5):
        began = time.monotonic()
        cursor = connection.execute(query)
        first = cursor.fetchone()
        assert time.monotonic() - began < bound
        cursor.close()
        assert first is not None
        assert first[3][:19] == "2024-01-01 00:01:00"


# --- checksums -----------------------------------------------------------------------------------------------------

UTF8 = "CONVERT(varbinary(max), CONVERT(varchar(max), {} COLLATE Latin1_General_100_BIN2_UTF8))"


def clock(value: dt.datetime | dt.time) -> bytes:
    return f"{value:%H:%M:%S.%f}".encode() if isinstance(value, dt.time) else f"{value:%Y-%m-%d %H:%M:%S.%f}".encode()


def guid(value: uuid.UUID) -> bytes:
    return str(value).encode()


CHECKSUMS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "i": ("CONVERT(varchar(20), [i])", lambda v: str(v).encode()),
    "id": ("CONVERT(varchar(20), [id])", lambda v: str(v).encode()),
    "bi": ("CONVERT(varchar(20), [bi])", lambda v: str(int(v)).encode()),
    "d": ("CONVERT(varchar(41), [d])", lambda v: f"{v:.4f}".encode()),
    "w": ("CONVERT(varchar(41), [w])", lambda v: f"{v:.10f}".encode()),
    "m": ("CONVERT(varchar(41), CONVERT(decimal(19,4), [m]))", lambda v: f"{v:.4f}".encode()),
    "f": ("CONVERT(binary(8), [f])", lambda v: struct.pack(">d", v)),
    "r": ("CONVERT(binary(4), [r])", lambda v: struct.pack(">f", v)),
    "da": ("CONVERT(char(10), [da], 23)", lambda v: v.isoformat().encode()),
    "ti": ("LEFT(CONVERT(varchar(16), CONVERT(time(7), [ti]), 121), 15)", clock),
    "d2": ("LEFT(CONVERT(varchar(27), CONVERT(datetime2(7), [d2]), 121), 26)", clock),
    "dt": ("CONVERT(varchar(23), [dt], 121)", lambda v: clock(v)[:23]),
    "o": (
        "LEFT(CONVERT(varchar(27), CONVERT(datetime2(7), SWITCHOFFSET([o], '+00:00')), 121), 26)",
        lambda v: clock(v.astimezone(dt.UTC).replace(tzinfo=None)),
    ),
    "vc": (UTF8.format("[vc]"), str.encode),
    "nv": (UTF8.format("[nv]"), str.encode),
    "body": (UTF8.format("[body]"), str.encode),
    "zeros": (
        UTF8.format("REPLACE([zeros] COLLATE Latin1_General_100_BIN2, NCHAR(0), N'')"),
        lambda v: v.replace("\0", "").encode(),
    ),
    "vb": ("[vb]", bytes),
    "g": ("LOWER(CONVERT(char(36), [g]))", guid),
    "h": ("[h].ToString()", lambda v: v.encode("utf-16-le")),
}


@pytest.mark.parametrize("column", CHECKSUMS)
def test_a_checksum_is_that_of_the_values(both: Both, source: dict[str, Any], column: str) -> None:
    expression, encode = CHECKSUMS[column]
    present = [value for value in source[column] if value is not None]
    total = sum(int.from_bytes(hashlib.md5(encode(value)).digest()[:7], "big") for value in present)
    query = (
        f"SELECT COUNT_BIG(*), COUNT_BIG([{column}]), SUM(CONVERT(decimal(38,0), CONVERT(bigint, SUBSTRING("
        f"HASHBYTES('MD5', {expression}), 1, 7)))) FROM {{t}}"
    )
    assert both(query) == [(ROWS, len(present), Decimal(total))]
    assert both(query + " WHERE [id] < 0") == [(0, 0, None)]


def test_a_checksum_of_geography_is_that_of_its_bytes(both: Both) -> None:
    rows = both("SELECT [p].AsBinaryZM() FROM {t} WHERE [p] IS NOT NULL")
    total = sum(int.from_bytes(hashlib.md5(bytes(row[0])).digest()[:7], "big") for row in rows)
    assert both(
        "SELECT SUM(CONVERT(decimal(38,0), CONVERT(bigint, SUBSTRING(HASHBYTES('MD5', [p].AsBinaryZM()), 1, 7)))) "
        "FROM {t}"
    ) == [(Decimal(total),)]


def test_hashes_are_of_the_bytes_of_the_type(both: Both) -> None:
    """nvarchar as UTF-16LE, varchar in its code page, each beyond 8000 bytes too."""
    for expression, data in (
        ("N'ж'", "ж".encode("utf-16-le")), ("CONVERT(varchar(5), N'é' COLLATE Latin1_General_CI_AS)", b"\xe9"),
        ("CONVERT(varchar(5), N'ж' COLLATE Cyrillic_General_CI_AS)", b"\xe6"),
        ("CONVERT(varchar(5), N'ж' COLLATE Latin1_General_100_BIN2_UTF8)", "ж".encode()),
        ("REPLICATE(CONVERT(nvarchar(max), N'x'), 9000)", b"x\0" * 9000),
    ):  # fmt: skip
        query = f"SELECT TOP (1) HASHBYTES('MD5', {expression}) FROM {{t}} WHERE [id] = 1"
        assert both(query) == [(hashlib.md5(data).digest(),)]
    whole = both("SELECT [id], HASHBYTES('MD5', [body]), [body] FROM {t} WHERE [body] IS NOT NULL ORDER BY [id]")
    assert all(digest == hashlib.md5(body.encode("utf-16-le")).digest() for _, digest, body in whole)
    assert max(len(body) for *_, body in whole) > 8000


@pytest.mark.parametrize(
    "expression",
    [
        "CONVERT(varchar(3), [id])", "CONVERT(char(30), [d2], 121)", "CONVERT(varchar(30), [dt], 120)",
        "CONVERT(varchar(30), [dt])", "CONVERT(nvarchar(30), [sd], 121)", "CONVERT(varchar(12), [d2], 121)",
        "CONVERT(varchar(30), [da], 23)", "CONVERT(varchar(34), [o], 121)", "CONVERT(time(0), [ti])",
        "CONVERT(datetime2(3), [d2])", "SUBSTRING([nv], 2, 3)", "LEFT([vc], 2)", "SUBSTRING([vb], 2, 10)",
        "CONVERT(bigint, [b8])", "CONVERT(bigint, SUBSTRING([b8], 3, 6))", "HASHBYTES('SHA2_256', [vc])",
        "CASE WHEN [s] > 0 THEN [nv] END", "REPLACE([ch], 'C', 'cc')", "[i] / 7", "TRY_CONVERT(int, [vc])",
        "CONVERT(decimal(38,0), [id])", "CONVERT(varchar(max), [nv])", "CONVERT(varbinary(5), [nv])",
        "CONVERT(varbinary(max), [long])", "[vc] + N'!'", "DATEADD(month, [s], [d2])", "DATEDIFF(day, [da], [d2])",
    ],
)  # fmt: skip
def test_expressions_over_columns_have_the_values_of_single_rows(both: Both, expression: str) -> None:
    assert both(f"SELECT [id], {expression} FROM {{t}} ORDER BY [d2], [id]")
    assert both(f"SELECT COUNT_BIG({expression}), COUNT(*) FROM {{t}} WHERE [y] > 30")[0][1] > 0
