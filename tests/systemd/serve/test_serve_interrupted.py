"""A copy that is stopped, killed or hangs goes on where it was; nothing is lost, doubled or read again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.database import SUPERUSER
from tests.support.waiting import until
from tests.systemd.serve.served import Served

pytestmark = pytest.mark.timeout(120)
Serve = Callable[..., Served]

ROWS = 3_000
QUICK_RESTART = "RestartSec=100ms"


def copying(served: Served, rows: int = ROWS) -> Served:
    """With a copy under way that has committed something, and would take some ten seconds more."""
    served.fill(rows, rows_per_s=rows / 12)
    served.manage("run")
    served.until_copied(800)
    return served


def assert_went_on(served: Served, attempts: int) -> None:
    """One run, which succeeded with its last attempt; each attempt has read what the others had not."""
    served.until_rows("SELECT state, attempt FROM etl.runs", [("succeeded", attempts)])
    served.assert_exact(ROWS)
    read = served.read_by_attempt()
    assert set(read) == set(range(1, attempts + 1))
    assert sum(read.values()) == 4 * ROWS


def test_a_stopped_copy_goes_on_after_the_next_start(serve: Serve) -> None:
    served = copying(serve())
    served.until("StatusText", lambda status: status.startswith("copying: ") and "0 of 4 tasks" in status)
    began = time.monotonic()
    served.manage("stop")
    assert time.monotonic() - began < 20
    assert served.show("Result") == "success"
    assert served.runs() == [("interrupted", 1)]
    served.hurry()
    served.manage("start")
    assert_went_on(served, 2)
    assert served.said("request was taken before the service ended: it goes on")
    served.until_rows("SELECT answer FROM etl.requests", [("succeeded",)])


def test_a_killed_child_costs_an_attempt_and_not_the_service(serve: Serve) -> None:
    served = copying(serve())
    supervisor, child = served.supervisor, served.child
    assert child is not None
    workers = served.below(child)
    served.hurry()
    served.signal(child, "KILL")
    until(lambda: not any(served.proc(pid).exists() for pid in workers))
    assert_went_on(served, 2)
    assert served.said("failed: its process was ended by SIGKILL; try 2 in 1 s")[0]["PRIORITY"] == "3"
    assert served.supervisor == supervisor
    served.until_rows("SELECT answer FROM etl.requests", [("succeeded",)])


def test_a_killed_supervisor_takes_its_child_along_and_the_run_goes_on(serve: Serve) -> None:
    served = copying(serve(QUICK_RESTART))
    supervisor, child = served.supervisor, served.child
    assert child is not None
    served.hurry()
    served.signal(supervisor, "KILL")
    until(lambda: not served.proc(child).exists())
    assert_went_on(served, 2)
    assert served.show("NRestarts") == "1"
    served.until_rows("SELECT answer FROM etl.requests", [("succeeded",)])


def test_what_the_out_of_memory_killer_takes_costs_an_attempt_and_not_the_service(serve: Serve) -> None:
    """It takes the largest process that works; here by SIGKILL: a container may not tell the kernel a limit."""
    served = copying(serve())
    assert served.show("OOMPolicy") == "continue"
    supervisor, child = served.supervisor, served.child
    assert child is not None
    workers = [pid for pid in served.below(child) if not served.children_of(pid)]
    largest = max(workers, key=served.rss_bytes)
    served.hurry()
    served.signal(largest, "KILL")
    served.until_rows("SELECT answer FROM etl.requests", [("succeeded",)])
    served.assert_exact(ROWS)
    assert sum(served.read_by_attempt().values()) == 4 * ROWS, "nothing is read again"
    assert served.said("failed:", "; try 2 in 1 s")
    assert (served.supervisor, served.show("ActiveState")) == (supervisor, "active")


def test_a_hung_supervisor_is_restarted_by_the_watchdog_and_the_run_goes_on(serve: Serve) -> None:
    served = copying(serve(QUICK_RESTART, "WatchdogSec=2s", "TimeoutAbortSec=1s"))
    assert served.show("NRestarts") == "0"
    served.signal(served.supervisor, "STOP")
    until(lambda: served.said("Watchdog timeout"))
    served.until("NRestarts", lambda value: value == "1")
    served.hurry()
    assert_went_on(served, 2)


def test_a_hung_child_is_killed_and_a_long_index_build_is_left_alone(serve: Serve) -> None:
    served = serve(stall_timeout="4s")
    with served.sink.connect(SUPERUSER) as connection:  # the key takes its time, as of a large table
        connection.execute(
            "CREATE FUNCTION take_time() RETURNS event_trigger LANGUAGE plpgsql AS $$"
            " BEGIN IF current_query() LIKE 'ALTER TABLE%orders%PRIMARY KEY%' THEN PERFORM pg_sleep(10); END IF; END $$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION take_time()"
        )
    copying(served)
    child = served.child
    assert child is not None
    served.signal(child, "STOP")
    served.until_said("failed: it was silent for", "(stall_timeout); try 2 in 1 s")
    served.hurry()
    assert_went_on(served, 2)
    assert len(served.said("stall_timeout")) == 1
    [(applying_s,)] = served.ask(
        "SELECT extract(epoch FROM r.finalized_at - max(c.committed_at))::float8 FROM etl.runs AS r, etl.chunks AS c"
        " GROUP BY r.run_id"
    )
    assert applying_s > 10, "longer than stall_timeout"
