"""Own sources of an etl.py: what they yield is there exactly once, whatever fails."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.progress import Progress
from etl_cli.runtime.run import run_pipeline
from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.waiting import until

Own = Callable[..., PipelineDirectory]

IN_PAGES = """
    import os, pathlib

    here = pathlib.Path(__file__).parent

    def say(text):
        with open(here / "said", "a") as file:
            file.write(text + "\\n")

    def breaks(where):
        flag = here / f"break-{where}"
        if flag.exists():
            flag.unlink()
            return True
        return False

    @pipeline.extract("users", key="id", cursor="changed", attempts=3, delay="10ms")
    def users(watermark, position):
        say(f"{watermark} {position}")
        for page in range(position or 0, 4):
            if breaks(page):
                raise ConnectionError(f"page {page}")
            if breaks(f"kill-{page}"):
                os.kill(os.getpid(), 9)
            yield [{"id": 10 * page + n, "changed": f"2026-01-0{page + 1}"} for n in range(3)], page + 1
"""


def said(directory: PipelineDirectory) -> list[str]:
    return (directory.path / "said").read_text().splitlines()


def test_rows_of_every_kind_get_the_types_that_hold_them(own: Own, sink: SinkDatabase) -> None:
    outcome = own(
        """
        import datetime as dt
        import uuid
        from decimal import Decimal

        import pyarrow as pa
        from pydantic import BaseModel

        class Person(BaseModel):
            id: int
            name: str
            tags: list[str] = []

        @pipeline.extract("kinds", key="id", columns={"total": "numeric(18,2)", "born": "date", "seen": "timestamptz"})
        def kinds():
            yield {"id": 1, "Name": "a", "share": 0.5, "ok": True, "total": Decimal("1.25"), "born": "2001-02-03",
                   "seen": "2026-01-31T06:00:00+01:00", "deep": {"x": [1, None]}, "raw": b"\\x00",
                   "who": uuid.UUID(int=7)}
            yield {"id": 2, "Name": None, "late": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}
            yield {"id": 2**62, "deep": "text", "total": "3"}

        @pipeline.extract("people", key="id")
        def people():
            yield [Person(id=1, name="Ada"), Person(id=2, name="Bob", tags=["x"])]

        @pipeline.extract("batches", key="id")
        def batches():
            yield pa.record_batch({"id": [1, 2], "day": pa.array([1, 2], pa.timestamp("s")), "list": [[1], None]})
            yield pa.table({"id": [3], "day": pa.array([None], pa.timestamp("s")), "list": [[2, 3]]})
        """
    ).run()
    assert outcome.state == "succeeded"
    types = (
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = '{}'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert dict(rows_of(sink, types.format("kinds"))) == {
        "total": "numeric(18,2)",
        "born": "date",
        "seen": "timestamp(6) with time zone",
        "id": "bigint",
        "name": "text",
        "share": "double precision",
        "ok": "boolean",
        "deep": "jsonb",
        "raw": "bytea",
        "who": "uuid",
        "late": "timestamp(6) with time zone",
    }
    shown = "SELECT id, name, share, ok, total::text, born::text, seen::text, deep::text, raw, who::text, late::text"
    assert rows_of(sink, f"{shown} FROM kinds ORDER BY id") == [
        (
            *(1, "a", 0.5, True, "1.25", "2001-02-03", "2026-01-31 05:00:00+00", '{"x": [1, null]}', b"\x00"),
            *("00000000-0000-0000-0000-000000000007", None),
        ),
        (2, None, None, None, None, None, None, None, None, None, "2026-01-01 00:00:00+00"),
        (2**62, None, None, None, "3.00", None, None, '"text"', None, None, None),
    ]
    assert rows_of(sink, "SELECT id, name, tags FROM people ORDER BY 1") == [(1, "Ada", []), (2, "Bob", ["x"])]
    assert rows_of(sink, "SELECT id, day::text, list FROM batches ORDER BY 1") == [
        (1, "1970-01-01 00:00:01", [1]),
        (2, "1970-01-01 00:00:02", None),
        (3, None, [2, 3]),
    ]


def test_a_try_goes_on_after_the_last_recorded_position(own: Own, sink: SinkDatabase) -> None:
    directory = own(IN_PAGES)
    for where in ("0", "2", "kill-3"):
        (directory.path / f"break-{where}").touch()
    outcome = directory.run()
    assert said(directory) == ["None None", "None None", "None 2", "None 3"]
    assert rows_of(sink, "SELECT count(*), count(DISTINCT id) FROM users") == [(12, 12)]
    assert rows_of(sink, "SELECT rows_read, rows_loaded, rows_inserted FROM etl.tasks") == [(12, 12, 12)]
    assert rows_of(sink, "SELECT sum(rows)::int, count(*) FROM etl.chunks") == [(12, 4)]
    told = [one.text for one in outcome.progress.told]
    assert any(re.fullmatch(r"users: read failed: ConnectionError: page 2 \(etl.py, line \d+\); another try in .*", t)
               for t in told)  # fmt: skip
    assert any("the reading process ended by signal SIGKILL" in text for text in told)


def test_tries_in_a_row_that_record_nothing_end_the_source(own: Own, sink: SinkDatabase) -> None:
    directory = own(IN_PAGES.replace("flag.unlink()", "pass"))
    (directory.path / "break-1").touch()
    with pytest.raises(EtlError, match=r"users: read failed: ConnectionError: page 1 \(etl.py, line \d+\)"):
        directory.run()
    assert said(directory) == ["None None", "None 1", "None 1"]
    assert rows_of(sink, "SELECT state, rows_loaded FROM etl.runs") == [("failed", 3)]
    assert rows_of(sink, "SELECT count(*) FROM users") == [(3,)]
    assert rows_of(sink, "SELECT count(*) FROM etl.watermarks") == [(0,)]
    (directory.path / "break-1").unlink()
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert said(directory)[3:] == ["None 1"]
    assert rows_of(sink, "SELECT count(*) FROM users") == [(12,)]


def test_the_watermark_moves_when_all_is_read(own: Own, sink: SinkDatabase) -> None:
    directory = own(IN_PAGES)
    directory.run()
    (directory.path / "break-2").touch()
    directory.run()
    assert said(directory) == ["None None", "2026-01-04 None", "2026-01-04 2"]
    assert rows_of(sink, "SELECT source_table, shard, value, run_id FROM etl.watermarks") == [
        ("users", "", "2026-01-04", 1)
    ]
    assert directory.cli("run", "--full").code == 0
    assert said(directory)[3:] == ["None None"]
    assert rows_of(sink, "SELECT count(*) FROM users") == [(12,)]
    shown = directory.state("show")
    assert "users" in shown.out
    assert "2026-01-04" in shown.out
    assert directory.state("set", "--table", "users", "--value", "2025-12-31", "--yes").code == 0
    directory.run()
    assert said(directory)[4:] == ["2025-12-31 None"]
    assert directory.state("reset", "--table", "users", "--yes").code == 0
    directory.run()
    assert said(directory)[5:] == ["None None"]


def test_a_watermark_is_handed_back_as_what_the_column_holds(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
        import datetime as dt

        @pipeline.extract("events", mode="append", key="id", cursor="at")
        def events(watermark):
            assert watermark is None or watermark == dt.datetime(2026, 1, 2, tzinfo=dt.UTC), watermark
            yield [{"id": n, "at": dt.datetime(2026, 1, n, tzinfo=dt.UTC)} for n in (2, 1)]

        @pipeline.extract("log", mode="append")
        def log(watermark):
            for at in range(watermark or 0, (watermark or 0) + 2):
                yield [{"line": at}], at + 1
        """
    )
    directory.run()
    directory.run()
    assert rows_of(sink, "SELECT count(*) FROM events") == [(2,)]
    assert rows_of(sink, "SELECT line FROM log ORDER BY 1") == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize("mode", ["replace", "sync", "upsert", "append"])
def test_without_positions_a_try_begins_anew_and_nothing_is_there_twice(
    mode: str, own: Own, sink: SinkDatabase
) -> None:
    key = "" if mode == "append" else 'key="id", '
    directory = own(
        f"""
        import pathlib

        flag = pathlib.Path(__file__).parent / "failed"

        @pipeline.extract("rows", {key}mode="{mode}", delay="10ms")
        def rows():
            for page in range(3):
                if page == 2 and not flag.exists():
                    flag.touch()
                    raise ValueError("once")
                yield [{{"id": 10 * page + n}} for n in range(3)]
        """
    )
    directory.run()
    assert rows_of(sink, "SELECT count(*), count(DISTINCT id) FROM rows") == [(9, 9)]
    assert rows_of(sink, "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_\\_etl\\_%'") == [(0,)]


def test_a_replaced_table_is_visible_at_once_and_loses_what_is_gone(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
        import pathlib

        left = pathlib.Path(__file__).parent / "left"

        @pipeline.extract("a", key="id", mode="replace")
        def a():
            yield [{"id": n, "x": n} for n in range(int(left.read_text()))]

        @pipeline.extract("b", key="id", mode="sync", track_changes=True)
        def b():
            yield [{"id": n, "x": left.read_text()} for n in range(int(left.read_text()))]
        """
    )
    for left in ("3", "2"):
        (directory.path / "left").write_text(left)
        outcome = directory.run()
    changed = {t.source: t.published and (t.published.inserted, t.published.updated, t.published.deleted)
               for t in outcome.tables}  # fmt: skip
    assert changed == {"a": (0, 0, 1), "b": (0, 2, 1)}
    assert rows_of(sink, "SELECT id FROM a ORDER BY 1") == rows_of(sink, "SELECT id FROM b ORDER BY 1") == [(0,), (1,)]
    assert rows_of(sink, "SELECT count(*) FROM b_changes WHERE operation = 'delete'") == [(1,)]
    (directory.path / "left").write_text("0")
    with pytest.raises(EtlError, match=r"(a|b) is empty, public\.(a|b) is not: nothing was changed"):
        directory.run()
    assert rows_of(sink, "SELECT count(*) FROM a") == [(2,)]


MEMBERS = """
    import pathlib

    here = pathlib.Path(__file__).parent

    @pipeline.step
    def accounts():
        return {"acme": 1, "globex": 2, "initech": 3}

    @pipeline.extract("items", key="id", cursor="id", fan_out="accounts", member_column="account", at_once=2,
                      attempts=2, delay="10ms")
    def items(run, member, watermark):
        run.progress(1, 2)
        if (here / f"break-{member}").exists():
            raise ValueError("no answer")
        yield [{"id": member * 10 + n} for n in range(2)]
"""


def test_each_member_has_a_state_of_its_own(own: Own, sink: SinkDatabase) -> None:
    directory = own(MEMBERS)
    (directory.path / "break-2").touch()
    with pytest.raises(EtlError, match="items of globex: read failed: ValueError: no answer"):
        directory.run()
    states = "SELECT shard, state FROM etl.tasks WHERE run_id = (SELECT max(run_id) FROM etl.runs) ORDER BY 1"
    assert rows_of(sink, states) == [("acme", "applied"), ("globex", "failed"), ("initech", "applied")]
    assert rows_of(sink, "SELECT account, id FROM items ORDER BY 1, 2") == [
        *(("acme", 10), ("acme", 11), ("initech", 30), ("initech", 31))
    ]
    assert rows_of(sink, "SELECT shard FROM etl.watermarks ORDER BY 1") == [("acme",), ("initech",)]
    (directory.path / "break-2").unlink()
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert rows_of(sink, "SELECT count(*) FROM items") == [(6,)]
    assert rows_of(sink, "SELECT count(*) FROM etl.chunks WHERE run_id = 2") == [(3,)]


def test_one_member_is_run_by_its_name(own: Own, sink: SinkDatabase) -> None:
    directory = own(MEMBERS.replace('fan_out="accounts"', 'fan_out={"acme": 1, "globex": 2}'))
    done = directory.cli("run", "--member", "globex")
    assert done.code == 0, done.err
    assert rows_of(sink, "SELECT DISTINCT account FROM items") == [("globex",)]
    assert rows_of(sink, "SELECT partial FROM etl.runs") == [(True,)]
    wrong = directory.cli("run", "--member", "nobody")
    assert wrong.code == 1
    assert "items has no member nobody: its members are acme, globex" in wrong.err


def test_members_that_make_the_same_table_do_not_wait_for_ever(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
        @pipeline.extract("t", key="id", fan_out=range(8), at_once=8, delay="10ms")
        def t(member):
            for page in range(4):
                yield [{"id": n, f"c{member}": 1, f"p{page}": 2} for n in range(50)], page
        """
    )
    directory.run()
    assert rows_of(sink, "SELECT count(*) FROM t") == [(50,)]
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
    assert rows_of(sink, columns) == [(1 + 8 + 4,)]


def test_changes_and_rejects_hold_for_own_sources(own: Own, sink: SinkDatabase) -> None:
    outcome = own(
        """
        from pydantic import BaseModel

        class Item(BaseModel):
            id: int
            n: int

        @pipeline.extract("items", key="id", model=Item, on_bad_row="reject", max_rejects=2)
        def items():
            yield [{"id": 1, "n": 1}, {"id": 2, "n": "many"}, {"id": 3, "n": 3}, {"id": 4, "n": 0}]

        @pipeline.filter("items")
        def odd(row):
            return row["n"] != 3

        @pipeline.map("items", columns={"share": "numeric(10,2)"})
        def share(row):
            from decimal import Decimal
            return {**row, "share": Decimal(10) / row["n"]}
        """
    ).run()
    assert rows_of(sink, "SELECT id, n, share::text FROM items") == [(1, 1, "10.00")]
    reasons = rows_of(sink, "SELECT key->>'id', reason FROM etl.rejects ORDER BY 1")
    assert [key for key, _ in reasons] == ["2", "4"]
    assert "does not fit the model: n" in reasons[0][1]
    assert 'step[2] "share" failed' in reasons[1][1]
    assert any("1 rows dropped" in note for table in outcome.tables for note in table.notes)


WRONG = [
    ("def f():\n            return 5", "f does not yield anything"),
    ("def f():\n            yield 5", "t: it yields int, not rows"),
    ("def f():\n            yield [5]", "t: it yields int as a row"),
    ("def f():\n            yield {'id': 1}, object()", "t: its position is what JSON cannot hold"),
    ("def f():\n            yield {'x': 1}", "t: no row has id, of its key"),
    ("def f():\n            yield {'id': 1, 'x': 1}\n            yield [{'id': 2, 'x': 'a'}]", "column x (bigint)"),
    ("def f():\n            yield {'id': 1, 'x': object()}", "its type cannot be told"),
    ("def f(nothing):\n            yield {'id': 1}", "takes nothing, which is no step"),
]


@pytest.mark.parametrize(("function", "told"), WRONG)
def test_what_cannot_be_is_told_in_a_line(function: str, told: str, own: Own, sink: SinkDatabase) -> None:
    directory = own(
        f"""
        @pipeline.extract("t", key="id", pages=1, attempts=1)
        {function}
        """
    )
    done = directory.cli("run")
    assert done.code in (1, 2), done.out
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_cancelled_source_ends_within_seconds_and_goes_on(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
        import pathlib, time

        @pipeline.extract("slow", key="id")
        def slow(position):
            for n in range(position or 0, 3):
                if n == 2 and not (pathlib.Path(__file__).parent / "quick").exists():
                    time.sleep(60)
                yield {"id": n}, n + 1
        """.replace('key="id"', 'key="id", pages=1')
    )
    process = subprocess.Popen(directory.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: rows_of(sink, "SELECT count(*) FROM etl.chunks WHERE committed_at IS NOT NULL") == [(2,)])
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(20) == 130
    assert time.monotonic() - began < 5
    (directory.path / "quick").touch()
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert rows_of(sink, "SELECT id FROM slow ORDER BY 1") == [(0,), (1,), (2,)]
    assert rows_of(sink, "SELECT run_id, attempt, state FROM etl.runs") == [(1, 2, "succeeded")]


def test_a_timeout_ends_a_source(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
        import time

        @pipeline.extract("slow", key="id", timeout="1s")
        def slow():
            yield {"id": 1}, 1
            time.sleep(60)
        """
    )
    began = time.monotonic()
    with pytest.raises(EtlError, match=r'step "slow" took longer than its timeout \(1 s\)'):
        directory.run()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("cursor", [False, True])
def test_a_new_run_after_a_failed_one_appends_no_row_twice(cursor: bool, own: Own, sink: SinkDatabase) -> None:
    options = ', cursor="n"' if cursor else ""
    directory = own(
        f"""
        @pipeline.extract("log", mode="append", attempts=1{options})
        def log(watermark, position):
            (HERE / "said").open("a").write(f"{{watermark}} {{position}}\\n")
            for n in range((position or watermark or 0) + 1, 7):
                if n == 4 and times("fourth") < 3:
                    raise ValueError("not yet")
                yield [{{"n": n}}], n
        """
    )
    assert directory.cli("run").code == 1
    assert directory.cli("run", "--resume").code == 1
    done = directory.cli("run")
    assert done.code == 0, done.err
    assert said(directory) == ["None None", "None 3", "3 None"]
    assert rows_of(sink, "SELECT n FROM log ORDER BY 1") == [(n,) for n in range(1, 7)]
    assert rows_of(sink, "SELECT value, run_id FROM etl.watermarks") == [("6", 3)]
    refused = directory.cli("run", "--full")
    assert refused.code == 1
    assert "--full in mode append needs a key" in refused.err


def test_a_run_goes_by_the_configuration_that_it_began_with(own: Own, sink: SinkDatabase) -> None:
    """A service keeps the old config.yaml while the file holds a wrong one: workers and steps do as well."""
    directory = own(
        """
        @pipeline.extract("t", key="id")
        def t(run):
            yield {"id": run.sink.execute("SELECT 1")[0][0]}

        @pipeline.step
        def after(run, t):
            return run.sink.execute("SELECT count(*) FROM t")[0][0]
        """
    )
    config = load_config(directory.path)
    (directory.path / "config.yaml").write_text("schedule: '@evry'\n")
    assert run_pipeline(config, Progress()).state == "succeeded"
    assert rows_of(sink, "SELECT result FROM etl.steps WHERE step = 'after'") == [(1,)]


def test_a_full_read_moves_no_watermark_back(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
        @pipeline.extract("t", key="id", cursor="at")
        def t():
            yield {"id": 1, "at": (HERE / "at").read_text()}
        """
    )
    for at, options in (("2026-03-01", ()), ("2026-01-06", ("--full",))):
        (directory.path / "at").write_text(at)
        assert directory.cli("run", *options).code == 0
    assert rows_of(sink, "SELECT value FROM etl.watermarks") == [("2026-03-01",)]
