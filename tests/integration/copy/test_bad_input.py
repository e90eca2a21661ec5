"""What can be wrong: each is one clear line with its remedy, the right exit code, and the target untouched."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished, PipelineDirectory
from tests.support.source import PASSWORD, Shards

Make = Callable[..., PipelineDirectory]

ORDERS = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)"


@pytest.fixture
def loaded(shards: Shards, sink: SinkDatabase, pipeline: Make) -> PipelineDirectory:
    """A pipeline that has run once: 2 rows a shard."""
    shards.execute(ORDERS, "INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b')")
    directory = pipeline({"source": "dbo.orders"})
    directory.run()
    return directory


@pytest.fixture
def untouched(loaded: PipelineDirectory, sink: SinkDatabase) -> Callable[[], None]:
    """Asserts that the target still is what the first run made; what a resumption would need may stand beside it."""

    def look() -> tuple[object, ...]:
        with sink.connect() as connection:
            rows = connection.execute("SELECT 'orders'::regclass::oid, xmin, orders FROM orders ORDER BY id, shard")
            tables = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '%\\_\\_etl\\_%'"
            )
            return (*rows.fetchall(), *tables.fetchall())

    before = look()

    def assert_untouched() -> None:
        assert look() == before

    return assert_untouched


def refused(done: Finished, code: int, *texts: str) -> None:
    """One line, the code, and the texts in it."""
    assert done.code == code, done.err
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    for text in texts:
        assert text in lines[0]


def test_an_unknown_key(loaded: PipelineDirectory, untouched: Callable[[], None]) -> None:
    loaded.change(tables=[{"source": "dbo.orders", "chunk_row": 10}])
    refused(loaded.cli("run"), 2, "tables[0].chunk_row: unknown key; did you mean chunk_rows?")
    untouched()


def test_an_unset_variable(loaded: PipelineDirectory, untouched: Callable[[], None]) -> None:
    loaded.change(source={"user": "${NOT_SET_ANYWHERE}"})
    refused(loaded.cli("run"), 2, "source.user", "NOT_SET_ANYWHERE is not set")
    untouched()


def test_a_wrong_source_password(loaded: PipelineDirectory, untouched: Callable[[], None]) -> None:
    loaded.change(source={"password": "wrong", "shards": loaded_shards(loaded)[:1]})
    refused(loaded.cli("run"), 1, "shard1", "Login failed", "18456", "check source.user and source.password")
    untouched()


def test_a_wrong_sink_password(loaded: PipelineDirectory, untouched: Callable[[], None]) -> None:
    loaded.change(sink={"password": "wrong"})
    refused(loaded.cli("run"), 1, "sink", "password authentication failed", "check sink.user and sink.password")
    untouched()


def test_a_shard_that_is_down(loaded: PipelineDirectory, untouched: Callable[[], None]) -> None:
    shards = loaded_shards(loaded)
    shards[2]["port"] = 1  # nothing listens there
    loaded.change(source={"shards": shards})
    refused(loaded.cli("run"), 1, "shard3", "connecting to 127.0.0.1:1 failed", "check host and port")
    untouched()


def test_a_table_that_is_missing_on_one_shard(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    shards[1].execute("DROP TABLE dbo.orders")
    refused(loaded.cli("run"), 1, "dbo.orders", "does not exist", "shard2")
    untouched()


def test_columns_that_differ_between_shards(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    shards[3].execute("ALTER TABLE dbo.orders ADD extra int NULL")
    refused(loaded.cli("run"), 1, "columns differ", "shard4 has extra", "make the tables alike")
    untouched()


def test_a_column_of_another_type_on_one_shard(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    shards[0].execute(
        "DROP TABLE dbo.orders", "CREATE TABLE dbo.orders (id bigint NOT NULL PRIMARY KEY, note nvarchar(40))"
    )
    refused(loaded.cli("run"), 1, "id is not of one type on all shards", "shard1 bigint -> bigint")
    untouched()


def test_no_rights_on_the_sink(loaded: PipelineDirectory, sink: SinkDatabase, untouched: Callable[[], None]) -> None:
    role = sink.role("etl_poor")
    loaded.change(sink={"user": role})
    refused(loaded.cli("run"), 1, "permission denied for schema etl", "GRANT ALL ON SCHEMA etl TO")
    untouched()


def test_an_unsupported_type(shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]) -> None:
    if shards[0].server.standin is None:
        pytest.skip("every type of a real server has its row in the table")
    from etl_cli.runtime.planner import make_plan
    from tests.support.catalogues import catalogue_with_type

    _, problems, _ = make_plan(loaded_config(loaded), [catalogue_with_type("shard1", "cursor")])
    assert any("type cursor has no counterpart here" in p and "leave the column out" in p for p in problems)
    untouched()


def test_two_names_that_collide_after_63_bytes(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    """Trap 14."""
    long = "c" * 63
    shards.execute(f"CREATE TABLE dbo.twins (id int NOT NULL PRIMARY KEY, {long}_one int NULL, {long}_two int NULL)")
    loaded.change(tables=[{"source": "dbo.twins"}])
    refused(loaded.cli("run"), 1, f"{long}_one and {long}_two are one name in Postgres")
    untouched()


def test_an_empty_source_over_a_full_target(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    """Trap 16."""
    shards.execute("DELETE FROM dbo.orders")
    refused(loaded.cli("run"), 1, "dbo.orders is empty on every shard", "allow_empty: true")
    untouched()
    loaded.change(tables=[{"source": "dbo.orders", "allow_empty": True}])
    assert loaded.cli("run").code == 0


def test_nul_in_a_text_names_table_column_and_key(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    """Trap 12."""
    shards[1].execute("UPDATE dbo.orders SET note = N'x' + NCHAR(0) + N'y' WHERE id = 2")
    refused(
        loaded.cli("run"),
        1,
        "dbo.orders of shard2: column note holds U+0000 in the row with id = 2",
        "nul_characters: strip",
    )
    untouched()


def test_nul_can_be_stripped_and_is_counted(shards: Shards, loaded: PipelineDirectory, sink: SinkDatabase) -> None:
    """Trap 12."""
    shards[1].execute("UPDATE dbo.orders SET note = N'x' + NCHAR(0) + N'y' WHERE id = 2")
    loaded.change(tables=[{"source": "dbo.orders", "nul_characters": "strip"}])
    done = loaded.cli("run", "--json")
    assert done.code == 0
    assert done.data["tables"][0]["notes"] == ["shard2: U+0000 was stripped from values of: note 1"]
    with sink.connect() as connection:
        row = connection.execute("SELECT note FROM orders WHERE id = 2 AND shard = 'shard2'").fetchone()
    assert row == ("xy",)


def test_a_lone_surrogate_names_table_column_and_key(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    """Trap 13."""
    shards[2].execute("UPDATE dbo.orders SET note = N'x' + NCHAR(55357) WHERE id = 1")
    refused(loaded.cli("run"), 1, "dbo.orders of shard3: column note holds a lone surrogate in the row with id = 1")
    untouched()


def test_a_replacement_character_of_its_own_is_no_lone_surrogate(
    shards: Shards, loaded: PipelineDirectory, sink: SinkDatabase
) -> None:
    """Trap 13."""
    shards[2].execute("UPDATE dbo.orders SET note = N'x' + NCHAR(65533) WHERE id = 1")
    assert loaded.cli("run").code == 0
    with sink.connect() as connection:
        row = connection.execute("SELECT note FROM orders WHERE id = 1 AND shard = 'shard3'").fetchone()
    assert row == ("x\ufffd",)


def test_a_reader_killed_in_mid_copy(
    shards: Shards, loaded: PipelineDirectory, sink: SinkDatabase, untouched: Callable[[], None]
) -> None:
    if shards[0].server.standin is None:
        pytest.skip("a real server cannot be slowed to order")
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.stall("orders", after_rows=1, seconds=20)
    process = subprocess.Popen(
        loaded.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    os.kill(_a_busy_worker(process.pid, sink), signal.SIGKILL)
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.clear()
    _, err = process.communicate(timeout=60)
    refused(Finished(process.returncode, "", err), 1, "the reading process ended by signal SIGKILL", "run again")
    untouched()


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_connection_cut_in_mid_result_fails_the_run(
    how: str, shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    """Trap 1: a dropped connection does not read as the end of the rows."""
    standin = shards[1].server.standin
    if standin is None:
        pytest.skip("a real server does not drop connections to order")
    for validate in ("counts", "none"):
        loaded.change(tables=[{"source": "dbo.orders", "validate": validate}])
        standin.faults.drop("orders", after_rows=1, how=how)
        refused(loaded.cli("run"), 1, "shard2", "reading dbo.orders failed")
        untouched()


def test_a_deadlock_in_mid_result_fails_the_run_with_its_text(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    standin = shards[1].server.standin
    if standin is None:
        pytest.skip("a real server has no deadlocks to order")
    standin.faults.error("orders", 1205, after_rows=1)
    refused(loaded.cli("run"), 1, "shard2", "reading dbo.orders failed")
    untouched()


def test_check_lists_every_problem_at_once(
    shards: Shards, loaded: PipelineDirectory, untouched: Callable[[], None]
) -> None:
    shards[0].execute("ALTER TABLE dbo.orders ADD extra int NULL")
    config = loaded_shards(loaded)
    config[3]["port"] = 1
    loaded.change(
        source={"shards": config},
        sink={"password": "wrong"},
        tables=[{"source": "dbo.orders"}, {"source": "dbo.nowhere"}],
        engine="procrastinate",
    )
    done = loaded.cli("check", "--json")
    assert done.code == 2
    problems = [finding["text"] for finding in done.data["findings"] if finding["status"] == "problem"]
    for text in (
        "procrastinate is not there yet",
        "connecting to 127.0.0.1:1",
        "password authentication",
        "extra",
        "dbo.nowhere",
    ):
        assert any(text in problem for problem in problems), text
    untouched()


def test_check_names_a_table_that_may_not_be_read(shards: Shards, loaded: PipelineDirectory) -> None:
    login = f"etl_poor_{os.getpid()}"
    shard = shards[0]
    for database, statement in (
        ("master", f"CREATE LOGIN {login} WITH PASSWORD = '{PASSWORD}'"),
        (shard.database, f"CREATE USER {login} FOR LOGIN {login}"),
        (shard.database, "CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY)"),
        (shard.database, f"GRANT SELECT ON dbo.other TO {login}"),
    ):
        connection = shard.connect(database)
        connection.execute(statement)
        connection.close()
    try:
        loaded.change(source={"user": login, "shards": loaded_shards(loaded)[:1]})
        done = loaded.cli("check")
        assert done.code == 1
        assert "dbo.orders" in done.out
        assert "GRANT SELECT" in done.out or "grant SELECT" in done.out
    finally:
        connection = shard.connect("master")
        connection.execute(f"DROP LOGIN {login}")
        connection.close()


@pytest.mark.parametrize("verb", ["check", "plan", "run"])
@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["plain", "debug"])
def test_no_password_is_ever_shown(
    verb: str, debug: tuple[str, ...], loaded: PipelineDirectory, sink: SinkDatabase
) -> None:
    """Trap 27."""
    secret = "Hush}{;'x=1"
    for block in ("source", "sink"):
        loaded.change(**{block: {"password": "${SECRET_OF_TEST}"}})
        done = loaded.cli(verb, *debug, environment={"SECRET_OF_TEST": secret})
        assert done.code == 1
        assert secret not in done.out + done.err
        loaded.change(**{block: {"password": PASSWORD if block == "source" else sink.password}})
    with sink.connect() as connection:
        for table in ("runs", "tasks", "chunks", "pipelines"):
            rows = connection.execute(f"SELECT t::text FROM etl.{table} AS t").fetchall()
            assert not any(PASSWORD in row[0] or sink.password in row[0] for row in rows)


def test_no_password_stands_in_the_process_list(shards: Shards, loaded: PipelineDirectory, sink: SinkDatabase) -> None:
    """Trap 27."""
    if shards[0].server.standin is None:
        pytest.skip("a real server cannot be slowed to order")
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.stall("orders", after_rows=1, seconds=20)
    process = subprocess.Popen(
        loaded.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _a_busy_worker(process.pid, sink)
        for member in _members(process.pid):
            told = " ".join(member.cmdline()) + " ".join(f"{k}={v}" for k, v in member.environ().items())
            assert PASSWORD not in told
            assert sink.password not in told
    finally:
        process.kill()
        process.wait(timeout=60)


def loaded_shards(directory: PipelineDirectory) -> list[dict[str, object]]:
    """The shards of its config.yaml."""
    import yaml

    shards = yaml.safe_load((directory.path / "config.yaml").read_text())["source"]["shards"]
    return list(shards)


def loaded_config(directory: PipelineDirectory):  # type: ignore[no-untyped-def]
    from etl_cli.runtime.config import load_config

    return load_config(directory.path)


def _members(session: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                members.append(process)
        except OSError:
            continue
    return members


def _a_busy_worker(session: int, sink: SinkDatabase) -> int:
    """A process of the run that has begun a task, once there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with sink.connect() as connection:
            busy = connection.execute(
                "SELECT client_port FROM pg_stat_activity WHERE application_name LIKE 'etl-cli test run % shard_'"
            ).fetchall()
        ports = {row[0] for row in busy}
        for member in _members(session):
            try:
                if any(c.laddr and c.laddr.port in ports for c in member.net_connections("tcp")):
                    return member.pid
            except psutil.Error:
                continue
        time.sleep(0.05)
    raise AssertionError("no worker was at work within 30 s")
