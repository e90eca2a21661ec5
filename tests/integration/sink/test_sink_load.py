"""Chunks by COPY: what the encoder makes is what Postgres stores, with its ledger row or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl_cli.runtime.errors import DataError, SinkError
from etl_cli.runtime.ledger.chunks import ChunkId
from etl_cli.runtime.ledger.ledger import Ledger, NewTask, TaskId
from etl_cli.runtime.load import ChunkLoader
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.planning import has_xml
from etl_cli.runtime.request import Request
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.destination import Destination
from etl_cli.runtime.sink.shadow import Shadow, create_shadow
from etl_cli.runtime.transform import BatchEncoder
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.plans import table_plan
from tests.support.publishing import value

SHADOW = Shadow("public", "orders__etl_1_0")
BESIDE = Destination("shadow", SHADOW)


@pytest.fixture
def sink(shared_sink: SinkDatabase) -> SinkDatabase:
    """One database for all tests here; `task` begins anew in it."""
    return shared_sink


@pytest.fixture
def task(connection: SinkConnection) -> TaskId:
    ledger = Ledger(connection)
    connection.execute(f"DROP TABLE IF EXISTS {SHADOW.quoted}; DELETE FROM etl.runs")
    ledger.register("orders", "7f3a9c1e")
    task = TaskId(ledger.start_run("orders", "abc", Request("test")), "dbo.orders", "shard1")
    ledger.add_tasks([NewTask(task, "public.orders", "replace", {}, None)])
    return task


def load(
    connection: SinkConnection,
    task: TaskId,
    plan: TablePlan,
    batches: Sequence[pa.RecordBatch],
    *,
    encoder: BatchEncoder | None = None,
    before_the_end: Callable[[], object] = lambda: None,
) -> None:
    """One chunk of these batches, into a shadow that is made for it."""
    create_shadow(connection, plan, SHADOW)
    loader = ChunkLoader(connection, plan, BESIDE, encoder or BatchEncoder(plan, "shard1"))
    with loader.chunk(ChunkId(task, 0, ""), 1) as writer:
        for batch in batches:
            writer.add(batch)
        before_the_end()


def stored(connection: SinkConnection, column: str = "x") -> list[str | None]:
    """What Postgres prints for a column, in the order of loading."""
    rows = connection.execute(f'SELECT "{column}"::text FROM {SHADOW.quoted} ORDER BY ctid').fetchall()
    return [row[0] for row in rows]


def forget(connection: SinkConnection) -> None:
    """Another chunk may be loaded as the first."""
    connection.execute(f"DROP TABLE IF EXISTS {SHADOW.quoted}; DELETE FROM etl.chunks")


def loaded(connection: SinkConnection, task: TaskId, sink_type: str, values: pa.Array) -> list[str | None]:
    """A column of that type through the encoder and COPY, as text."""
    load(connection, task, table_plan({"x": sink_type}), [pa.record_batch([values], names=["x"])])
    return stored(connection)


def micros(*values: str | None, zone: str | None = None) -> pa.Array:
    """Timestamps as both readers give them, beyond what Python's own clock knows, too."""
    parsed = [None if v is None else dt.datetime.fromisoformat(v).replace(tzinfo=dt.UTC) for v in values]
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    whole = [None if v is None else (v - epoch) // dt.timedelta(microseconds=1) for v in parsed]
    return pa.array(whole, pa.int64()).cast(pa.timestamp("us", tz=zone))


CASES: dict[str, tuple[str, pa.Array, list[str | None]]] = {
    "boolean": ("boolean", pa.array([True, False, None]), ["true", "false", None]),
    "tinyint": ("smallint", pa.array([255, 0, None], pa.uint8()), ["255", "0", None]),
    "smallint": ("smallint", pa.array([-32768, 32767, None], pa.int16()), ["-32768", "32767", None]),
    "int": ("integer", pa.array([-(2**31), 2**31 - 1, None], pa.int32()), ["-2147483648", "2147483647", None]),
    "bigint": ("bigint", pa.array([-(2**63), 2**63 - 1], pa.int64()), [str(-(2**63)), str(2**63 - 1)]),
    "real": ("real", pa.array([0.1, -1.5, 3.4e38, None], pa.float32()), ["0.1", "-1.5", "3.4e+38", None]),
    "float": (
        "double precision",
        pa.array([0.1, 1.7976931348623157e308, -0.0, 5e-324, float("inf"), float("nan"), None]),
        ["0.1", "1.7976931348623157e+308", "-0", "5e-324", "Infinity", "NaN", None],
    ),
    "money": (
        "numeric(19,4)",
        pa.array([Decimal("922337203685477.5807"), Decimal("-0.0001"), None, Decimal("0.0000")], pa.decimal128(19, 4)),
        ["922337203685477.5807", "-0.0001", None, "0.0000"],
    ),
    "decimal(38,10)": (
        "numeric(38,10)",
        pa.array([Decimal("9" * 28 + "." + "9" * 10), Decimal("-1.5000000000"), None], pa.decimal128(38, 10)),
        ["9" * 28 + "." + "9" * 10, "-1.5000000000", None],
    ),
    "decimal(38,0)": ("numeric(38,0)", pa.array([Decimal("-" + "9" * 38)], pa.decimal128(38, 0)), ["-" + "9" * 38]),
    "decimal(38,38)": (
        "numeric(38,38)",
        pa.array([Decimal("0." + "9" * 38), Decimal("1e-38")], pa.decimal128(38, 38)),
        ["0." + "9" * 38, "0." + "0" * 37 + "1"],
    ),
    "decimal(5,2)": (
        "numeric(5,2)",
        pa.array([Decimal("100.00"), Decimal("-999.99"), Decimal("0.10"), Decimal("10.00")], pa.decimal128(5, 2)),
        ["100.00", "-999.99", "0.10", "10.00"],
    ),
    "date": (
        "date",
        pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1), None]),
        ["0001-01-01", "9999-12-31", "1970-01-01", None],
    ),
    "time in nanoseconds": (
        "time(6) without time zone",
        pa.array([0, 86_399_999_999_900, 45_296_123_456_700, None], pa.int64()).view(pa.time64("ns")),
        ["00:00:00", "23:59:59.999999", "12:34:56.123456", None],
    ),
    "time in microseconds": (
        "time(6) without time zone",
        pa.array([dt.time(23, 59, 59, 999999), dt.time(0)], pa.time64("us")),
        ["23:59:59.999999", "00:00:00"],
    ),
    "datetime2": (
        "timestamp(6) without time zone",
        micros("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "1969-12-31T23:59:59.999999", None),
        ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999", None],
    ),
    "datetime": (
        "timestamp(3) without time zone",
        micros("9999-12-31T23:59:59.997", "1753-01-01T00:00:00.003"),
        ["9999-12-31 23:59:59.997", "1753-01-01 00:00:00.003"],
    ),
    "datetimeoffset": (
        "timestamp with time zone",
        micros("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", None, zone="UTC"),
        ["0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", None],
    ),
    "nvarchar": (
        "text",
        pa.array(["", None, "it's \\N NULL\t\n\r", "Grüße 東京 😀", " x "], pa.large_string()),
        ["", None, "it's \\N NULL\t\n\r", "Grüße 東京 😀", " x "],
    ),
    "nvarchar of 32 bits": ("text", pa.array(["", None, "ü"]), ["", None, "ü"]),
    "varbinary": ("bytea", pa.array([b"", None, b"\0\xff\\x"], pa.large_binary()), ["\\x", None, "\\x00ff5c78"]),
    "uniqueidentifier": (
        "uuid",
        pa.array(
            ["6F9619FF-8B86-D011-B42D-00C04FC964FF", None, "0" * 8 + "-0000" * 3 + "-" + "0" * 12], pa.large_string()
        ),
        ["6f9619ff-8b86-d011-b42d-00c04fc964ff", None, "00000000-0000-0000-0000-000000000000"],
    ),
    "json": (
        "jsonb",
        pa.array(['{"b": [1, 2.50, null], "a": "ü"}', None, "[]", '"x"'], pa.large_string()),
        ['{"a": "ü", "b": [1, 2.50, null]}', None, "[]", '"x"'],
    ),
    "vector": ("real[]", pa.array(["[1.5,-2,0.1]", None, "[]"], pa.large_string()), ["{1.5,-2,0.1}", None, "{}"]),
}


@pytest.mark.parametrize("name", CASES)
def test_each_type_arrives_as_it_was_also_from_the_middle_of_an_array(
    connection: SinkConnection, task: TaskId, name: str
) -> None:
    sink_type, values, expected = CASES[name]
    assert loaded(connection, task, sink_type, values) == expected
    forget(connection)
    length = max(1, len(values) - 2)
    assert loaded(connection, task, sink_type, values.slice(1, length)) == expected[1 : 1 + length]


def test_xml_arrives_where_the_sink_has_it(connection: SinkConnection, task: TaskId) -> None:
    if not has_xml(connection):
        pytest.skip("this Postgres was built without XML")
    text = ['<a b="1">ü</a>', None, "<a/><b/>", ""]
    assert loaded(connection, task, "xml", pa.array(text, pa.large_string())) == text


def test_several_batches_are_one_stream_in_order(connection: SinkConnection, task: TaskId) -> None:
    plan = table_plan({"x": "integer", "note": "text"}, shard_column="shard")
    batches = [
        pa.record_batch([pa.array(range(n, n + 100), pa.int32()), pa.array(["x" * n] * 100)], names=["x", "note"])
        for n in (0, 100, 200)
    ]
    load(connection, task, plan, batches)
    assert stored(connection) == [str(number) for number in range(300)]
    assert set(stored(connection, "shard")) == {"shard1"}


texts = st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)


@given(values=st.lists(st.none() | texts, min_size=1, max_size=50), start=st.integers(0, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_arrives_as_it_was(
    connection: SinkConnection, task: TaskId, values: list[str | None], start: int
) -> None:
    forget(connection)
    array = pa.array(values, pa.large_string()).slice(start)
    if len(array):
        assert loaded(connection, task, "text", array) == values[start:]


@given(
    values=st.lists(
        st.none() | st.decimals(min_value=-(10**18), max_value=10**18, places=4, allow_nan=False),
        min_size=1,
        max_size=50,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_amount_arrives_as_it_was(connection: SinkConnection, task: TaskId, values: list[Decimal | None]) -> None:
    forget(connection)
    array = pa.array(values, pa.decimal128(38, 4))
    expected = [None if v is None else f"{v + 0:f}" for v in values]
    assert [None if v is None else f"{Decimal(v) + 0:f}" for v in loaded(connection, task, "numeric(38,4)", array)] == (
        expected
    )


def test_text_arrives_as_it_was_whatever_encoding_the_role_has(sink: SinkDatabase, task: TaskId) -> None:
    role = f"ALTER ROLE etl_user IN DATABASE {sink.database}"
    with sink.connect(SUPERUSER) as admin:
        admin.execute(f"{role} SET client_encoding = 'LATIN1'")
        try:
            with sink.open() as connection:
                loaded(connection, task, "text", pa.array(["Grüße"], pa.large_string()))
        finally:
            admin.execute(f"{role} RESET client_encoding")
        assert value(admin, f"SELECT x FROM {SHADOW.quoted}") == "Grüße"


# chunks


ROWS = table_plan({"id": "integer", "note": "text"}, ["id"])


def batch(*ids: int | None) -> pa.RecordBatch:
    return pa.record_batch([pa.array(ids, pa.int32()), pa.array([f"n{i}" for i in ids])], names=["id", "note"])


def count(connection: SinkConnection) -> tuple[int, int]:
    """Rows in the shadow, and chunks in the ledger."""
    return value(connection, f"SELECT count(*) FROM {SHADOW.quoted}"), value(
        connection, "SELECT count(*) FROM etl.chunks"
    )


def test_a_chunk_commits_rows_and_ledger_row_together(connection: SinkConnection, task: TaskId) -> None:
    load(connection, task, ROWS, [batch(1, 2), batch(3)])
    assert count(connection) == (3, 1)
    row = connection.execute("SELECT rows, bytes, attempt, committed_at IS NOT NULL FROM etl.chunks").fetchone()
    assert row is not None
    assert (row[0], row[2], row[3]) == (3, 1, True)
    assert row[1] > 3 * 10


def test_nothing_of_a_chunk_is_visible_before_it_commits(sink: SinkDatabase, task: TaskId) -> None:
    seen: list[tuple[int, int]] = []
    with sink.open() as writing, sink.open() as reading:
        load(writing, task, ROWS, [batch(1, 2)], before_the_end=lambda: seen.append(count(reading)))
        assert (seen, count(reading)) == ([(0, 0)], (2, 1))


class StreamBrokeError(Exception):
    """What a reader may raise in mid-chunk."""


def test_a_chunk_that_fails_in_the_middle_leaves_neither_rows_nor_ledger_row(
    connection: SinkConnection, task: TaskId
) -> None:
    def breaks() -> None:
        raise StreamBrokeError

    with pytest.raises(StreamBrokeError):
        load(connection, task, ROWS, [batch(1, 2)], before_the_end=breaks)
    assert count(connection) == (0, 0)
    assert value(connection, "SELECT 1") == 1


class CutOff(BatchEncoder):
    """Loses the end of the stream."""

    def finish(self) -> bytes:
        return super().finish()[:-7]


def test_a_stream_that_is_cut_off_is_an_error_and_leaves_nothing(connection: SinkConnection, task: TaskId) -> None:
    with pytest.raises(DataError, match=r"loading public\.orders failed: unexpected EOF in COPY data"):
        load(connection, task, ROWS, [batch(1, 2)], encoder=CutOff(ROWS, "shard1"))
    assert count(connection) == (0, 0)


class Miscounting(BatchEncoder):
    """Encodes two rows, whatever the batch holds."""

    def encode(self, _: pa.RecordBatch) -> bytes:
        return super().encode(batch(1, 2))


@pytest.mark.parametrize("told", [1, 3])
def test_another_number_of_rows_than_was_sent_is_an_error(connection: SinkConnection, task: TaskId, told: int) -> None:
    with pytest.raises(DataError, match=rf"dbo\.orders: {told} rows were sent, Postgres stored 2"):
        load(connection, task, ROWS, [batch(*range(told))], encoder=Miscounting(ROWS, "shard1"))
    assert count(connection) == (0, 0)


def test_a_null_in_the_key_is_an_error_that_names_the_column(connection: SinkConnection, task: TaskId) -> None:
    with pytest.raises(DataError, match='null value in column "id"'):
        load(connection, task, ROWS, [batch(1, None)])
    assert count(connection) == (0, 0)


def test_a_chunk_that_another_attempt_committed_is_refused_before_any_row(
    connection: SinkConnection, task: TaskId
) -> None:
    load(connection, task, ROWS, [batch(1, 2)])
    loader = ChunkLoader(connection, ROWS, BESIDE, BatchEncoder(ROWS, "shard1"))
    with (
        pytest.raises(SinkError, match="another attempt has committed this chunk"),
        loader.chunk(ChunkId(task, 0, ""), 2),
    ):
        pytest.fail("the block must not be entered")
    assert count(connection) == (2, 1)


def test_a_session_that_is_ended_in_the_middle_is_an_error_and_leaves_nothing(sink: SinkDatabase, task: TaskId) -> None:
    with sink.open() as writing, sink.connect(SUPERUSER) as admin:
        end = "SELECT pg_terminate_backend(%s, 5000)"
        with pytest.raises(SinkError, match=r"loading public\.orders failed"):
            load(
                *(writing, task, ROWS, [batch(1, 2)]),
                before_the_end=lambda: admin.execute(end, [writing.info.backend_pid]),
            )
        assert count(admin) == (0, 0)


def test_columns_of_any_name_are_loaded(connection: SinkConnection, task: TaskId) -> None:
    names = ["select", "With Space", 'quo"te', "UPPER", "ünï", "x" * 63, "a.b", "%s", "{}", "a;b", "'", "\\"]
    plan = table_plan(dict.fromkeys(names, "integer"))
    arrays: list[Any] = [pa.array([number], pa.int32()) for number in range(len(names))]
    load(connection, task, plan, [pa.record_batch(arrays, names=names)])
    row = connection.execute(f"SELECT * FROM {SHADOW.quoted}").fetchone()
    assert row == tuple(range(len(names)))
