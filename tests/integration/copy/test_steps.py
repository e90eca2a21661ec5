"""The graph of steps that an etl.py declares."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from etl_cli.runtime.errors import EtlError
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.programs import assert_told_in_a_line, program
from tests.support.slowing import filled, hurry, slow
from tests.support.source import Shards
from tests.support.waiting import until

ORDERS = {"source": "dbo.orders"}


@pytest.fixture
def orders(shards: Shards) -> Shards:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1), (2)")
    shards.execute("CREATE TABLE dbo.items (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.items VALUES (7)")
    return shards


def states(sink: SinkDatabase) -> dict[str, str]:
    return dict(rows_of(sink, "SELECT step, state FROM etl.steps WHERE run_id = (SELECT max(run_id) FROM etl.runs)"))


GRAPH = """
    @pipeline.step
    def before(run):
        run.sink.execute("CREATE TABLE IF NOT EXISTS said (step text, at timestamptz DEFAULT clock_timestamp())")
        run.sink.execute("INSERT INTO said VALUES ('before')")
        return {"factor": 3}

    pipeline.copy(after=["before"])

    @pipeline.step(after=["copy"])
    def count(run, before, day="today"):
        (rows,), = run.sink.execute("SELECT count(*) FROM orders")
        run.log(f"{rows} rows, {day}")
        run.progress(1, 2)
        return rows * before["factor"]

    @pipeline.step
    def report(run, count):
        run.sink.execute("INSERT INTO said VALUES (%s)", [f"report {count}"])

    @pipeline.step(after=["copy"], when=lambda day: day == "sunday")
    def weekly(run):
        raise RuntimeError("not on this day")

    pipeline.sql("after.sql", after=["report", "weekly"])
"""


def test_steps_run_in_order_and_hand_data_on(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = pipeline(ORDERS, params={"day": "monday"})
    (directory.path / "sql").mkdir()
    (directory.path / "sql" / "after.sql").write_text(
        "INSERT INTO said VALUES ('one');\nINSERT INTO said SELECT 'two' FROM said WHERE step = 'one';\n"
    )
    outcome = program(directory, GRAPH).run()
    assert rows_of(sink, "SELECT step FROM said ORDER BY at") == [("before",), ("report 24",), ("one",), ("two",)]
    assert states(sink) == {
        **dict.fromkeys(("before", "copy", "count", "report", "after"), "succeeded"),
        "weekly": "skipped",
    }
    assert rows_of(sink, "SELECT result FROM etl.steps WHERE step = 'count'") == [(24,)]
    assert rows_of(sink, "SELECT params, state FROM etl.runs") == [({}, "succeeded")]
    assert "count: 8 rows, monday" in [told.text for told in outcome.progress.told]
    assert (outcome.progress.steps["count"].done, outcome.progress.steps["count"].total) == (1, 2)


def test_copies_are_grouped(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = program(
        pipeline(ORDERS, {"source": "dbo.items"}),
        """
        pipeline.copy("first", tables=["dbo.items"])

        @pipeline.step(after=["first"])
        def between(run):
            return [run.sink.execute("SELECT count(*) FROM items")[0][0],
                    run.sink.execute("SELECT to_regclass('orders') IS NULL")[0][0]]

        pipeline.copy(after=["between"])
        """,
    )
    directory.run()
    assert rows_of(sink, "SELECT result FROM etl.steps WHERE step = 'between'") == [([4, True],)]
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(8,)]


FAILING = """
    @pipeline.step(retries=1, retry_delay=0)
    def fragile(run):
        run.sink.execute("CREATE TABLE IF NOT EXISTS tries (n int)")
        run.sink.execute("INSERT INTO tries VALUES (1)")
        if run.sink.execute("SELECT count(*) FROM tries")[0][0] < {good_at}:
            raise ValueError("not yet")

    pipeline.copy(after=["fragile"])

    @pipeline.step
    def beside(run):
        return "fine"
"""


@pytest.mark.parametrize(("fail_fast", "beside"), [(False, "succeeded"), (True, "cancelled")])
def test_a_failure_cancels_what_comes_after_it(
    fail_fast: bool, beside: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = pipeline(ORDERS, fail_fast=fail_fast, parallelism={"steps": 1})
    with pytest.raises(EtlError, match=r'step "fragile" failed: ValueError: not yet \(etl.py, line 10\)'):
        program(directory, FAILING.format(good_at=9)).run()
    assert states(sink) == {"fragile": "failed", "copy": "cancelled", "beside": beside}
    assert rows_of(sink, "SELECT tries FROM etl.steps WHERE step = 'fragile'") == [(2,)]
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("failed",)]
    assert rows_of(sink, "SELECT to_regclass('orders') IS NULL") == [(True,)]


def test_a_retry_keeps_what_has_succeeded(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = program(
        pipeline(ORDERS),
        """
        @pipeline.step
        def once(run):
            run.sink.execute("CREATE TABLE onces AS SELECT 1")
            return 5

        pipeline.copy(after=["once"])

        @pipeline.step(after=["copy"])
        def fragile(run, once):
            run.sink.execute("SELECT 1 FROM is_not_there_yet")
            return once
        """,
    )
    assert directory.cli("run").code == 1
    chunks = rows_of(sink, "SELECT count(*) FROM etl.chunks")
    with sink.open() as connection:
        connection.execute("CREATE TABLE is_not_there_yet ()")
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert states(sink) == dict.fromkeys(("once", "copy", "fragile"), "succeeded")
    assert rows_of(sink, "SELECT result FROM etl.steps WHERE step = 'fragile' AND state = 'succeeded'") == [(5,)]
    assert rows_of(sink, "SELECT run_id, state, retry_of FROM etl.runs ORDER BY 1") == [
        (1, "failed", None),
        (2, "succeeded", 1),
    ]
    assert rows_of(sink, "SELECT count(*) FROM etl.chunks WHERE run_id = 2") == chunks


def test_a_timeout_really_ends_a_step(orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    directory = program(
        pipeline(ORDERS),
        """
        import time

        @pipeline.step(timeout="2s")
        def slow(run):
            run.sink.execute("SELECT pg_sleep(60)")
        """,
    )
    began = time.monotonic()
    with pytest.raises(EtlError, match="took longer than its timeout"):
        directory.run()
    assert time.monotonic() - began < 20
    until(lambda: rows_of(sink, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%'") == [(1,)])


@pytest.mark.parametrize("body", ["time.sleep(60)", 'run.sink.execute("SELECT pg_sleep(60)")'])
def test_an_interrupt_ends_the_steps_and_a_resumption_goes_on(
    body: str, orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    source = f"""
        import time

        pipeline.copy()

        @pipeline.step(after=["copy"])
        def slow(run):
            if not run.sink.execute("SELECT to_regclass('quick') IS NOT NULL")[0][0]:
                {body}
            return "slow"
        """
    directory = program(pipeline(ORDERS), source)
    process = subprocess.Popen(directory.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: rows_of(sink, "SELECT 1 FROM etl.steps WHERE step = 'slow' AND state = 'running'"))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(20) == 130
    assert time.monotonic() - began < 5
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("interrupted",)]
    with sink.open() as connection:
        connection.execute("CREATE TABLE quick ()")
    assert directory.cli("run", "--resume").code == 0
    assert rows_of(sink, "SELECT state, attempt FROM etl.runs") == [("succeeded", 2)]
    assert states(sink) == {"copy": "succeeded", "slow": "succeeded"}
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(8,)]


WRONG: dict[str, tuple[str, str]] = {
    "a cycle": (
        '@pipeline.step(after=["b"])\ndef a(run): pass\n@pipeline.step(after=["a"])\ndef b(run): pass',
        "steps wait for each other",
    ),
    "an unknown step": ('@pipeline.step(after=["nothing"])\ndef a(run): pass', "nothing, which is no step"),
    "a missing parameter": ("@pipeline.step\ndef a(run, more): pass", "takes more, which is no step"),
    "a name twice": ("@pipeline.step\ndef a(run): pass\n@pipeline.step\ndef a(run): pass", "two steps are named a"),
    "a duration": ('@pipeline.step(timeout="soon")\ndef a(run): pass', "step a: timeout"),
    "a file": ('pipeline.sql("none.sql")', "none.sql is not there"),
    "a result": ("@pipeline.step\ndef a(run): return object()", "gives back what JSON cannot hold"),
    "a table": ('pipeline.copy("b", tables=["dbo.none"])', "dbo.none"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_graph_is_told_in_a_line(wrong: str, orders: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    body, wanted = WRONG[wrong]
    assert_told_in_a_line(program(pipeline(ORDERS), body), wanted)


def test_parameters_come_from_the_command_line_the_configuration_and_a_resumption(
    orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = program(
        pipeline(ORDERS, params={"day": "monday", "limit": 5}),
        """
        from pydantic import BaseModel

        class Wanted(BaseModel):
            day: str
            limit: int

        @pipeline.step(model=Wanted)
        def told(run, params, day):
            if not run.sink.execute("SELECT to_regclass('there') IS NOT NULL")[0][0]:
                raise RuntimeError("not there")
            return [params.day, params.limit, day]
        """,
    )
    assert directory.cli("run", "--param", "limit=7").code == 1
    with sink.open() as connection:
        connection.execute("CREATE TABLE there ()")
    assert directory.cli("run", "--resume").code == 0
    assert rows_of(sink, "SELECT result FROM etl.steps WHERE step = 'told' AND state = 'succeeded'") == [
        (["monday", 7, "monday"],)
    ]
    done = directory.cli("run", "--param", "limit=many")
    assert (done.code, "step told: parameter limit: Input should be a valid integer" in done.err) == (1, True), done.err
    assert directory.cli("run", "--param", "limit").code == 2


def test_a_copy_that_another_step_stopped_is_not_taken_for_done(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    slow(filled(shards), rows_per_s=500)
    directory = program(
        pipeline({"source": "dbo.orders", "chunk_rows": 200}),
        """
        import time

        @pipeline.step
        def fails(run):
            if not run.sink.execute("SELECT to_regclass('good') IS NOT NULL")[0][0]:
                time.sleep(2)
                raise RuntimeError("not yet")

        pipeline.copy()
        """,
    )
    with pytest.raises(EtlError, match="not yet"):
        directory.run()
    assert states(sink) == {"fails": "failed", "copy": "cancelled"}
    hurry(shards)
    with sink.open() as connection:
        connection.execute("CREATE TABLE good ()")
    assert directory.cli("run", "--resume").code == 0
    assert states(sink) == {"fails": "succeeded", "copy": "succeeded"}
    assert rows_of(sink, "SELECT count(*), count(DISTINCT (id, shard)) FROM orders") == [(16_000, 16_000)]


def test_what_came_before_a_copy_that_never_began_is_not_done_twice(
    orders: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    directory = program(
        pipeline(ORDERS),
        """
        @pipeline.step
        def once(run):
            run.sink.execute("CREATE TABLE onces AS SELECT 1")

        @pipeline.step(after=["once"])
        def fragile(run):
            run.sink.execute("SELECT 1 FROM is_not_there_yet")

        pipeline.copy(after=["fragile"])
        """,
    )
    assert directory.cli("run").code == 1
    with sink.open() as connection:
        connection.execute("CREATE TABLE is_not_there_yet ()")
    done = directory.cli("run", "--resume")
    assert done.code == 0, done.err
    assert states(sink) == dict.fromkeys(("once", "fragile", "copy"), "succeeded")
    assert rows_of(sink, "SELECT count(*) FROM orders") == [(8,)]
