"""The host or the sink is away when a slot is due: it is told, and made up for."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.database import SinkDatabase
from tests.support.forwarder import Forwarder
from tests.support.waiting import until
from tests.systemd.serve.served import Served

pytestmark = pytest.mark.timeout(120)
Serve = Callable[..., Served]

SUCCEEDED = "SELECT count(*) FROM etl.slots WHERE outcome = 'succeeded'"


@pytest.fixture
def door(sink: SinkDatabase) -> Iterator[Forwarder]:
    """What the service takes for the sink."""
    with Forwarder(sink.port) as door:
        yield door


def wait_for_slot(every_s: int) -> None:
    """Until an instant that `@every` makes due has passed."""
    time.sleep(every_s - time.time() % every_s + 0.05)


def test_a_slot_that_passed_while_the_host_was_off_is_made_up_for(serve: Serve) -> None:
    served = serve(schedule="@every 6s", catchup="latest")
    served.fill(20)
    until(lambda: served.ask(SUCCEEDED)[0][0] >= 1)
    down = dt.datetime.now(dt.UTC)
    served.machine.reboot(while_down=lambda: wait_for_slot(6))
    served.until_said("due while the service or the sink was down")
    told = served.said("due while the service or the sink was down", options=["-b", "0"])
    assert [entry["PRIORITY"] for entry in told] == ["4"]
    assert "(catchup: latest, 1 made up for now)" in told[0]["MESSAGE"]
    up = dt.datetime.fromtimestamp(int(told[0]["__REALTIME_TIMESTAMP"]) / 1e6, dt.UTC)
    passed = f"due_at > '{down}' AND due_at <= '{up}'"
    served.until_rows(f"SELECT outcome FROM etl.slots WHERE {passed} ORDER BY due_at DESC LIMIT 1", [("succeeded",)])
    served.assert_exact(20)


def test_a_sink_that_is_away_at_the_start_is_waited_for(serve: Serve, door: Forwarder) -> None:
    door.close()
    served = serve(schedule="@every 5s", sink_port=door.port)
    served.fill(20)
    served.until_said("Connection refused", "next try in")
    assert served.show("ActiveState") == "active"
    assert served.show("StatusText").startswith("the sink is away; next run ")
    missed = served.until_said("the slot", "cannot run: there is no ledger to record it in")
    assert missed["PRIORITY"] == "4"
    door.open()
    served.until_said("was due while the service or the sink was down (catchup: latest, 1 made up for now)")
    served.until_rows(f"SELECT ({SUCCEEDED}) >= 1", [(True,)])
    served.assert_exact(20)
    assert served.show("NRestarts") == "0"


def test_a_sink_that_goes_away_during_a_copy_costs_attempts_and_no_row(serve: Serve, door: Forwarder) -> None:
    served = serve(sink_port=door.port)
    served.fill(3_000, rows_per_s=250)
    served.manage("run")
    served.until_copied(800)
    door.close()
    served.until_said("failed:", "; try 3 in 1 s")
    served.hurry()
    door.open()
    served.until_rows("SELECT answer FROM etl.requests", [("succeeded",)])
    served.assert_exact(3_000)
    read = served.read_by_attempt()
    assert sum(read.values()) == 12_000
    assert len(read) == 2
    assert served.show("NRestarts") == "0"


def test_a_run_that_ended_while_the_sink_was_away_is_recorded_when_it_is_back(serve: Serve, door: Forwarder) -> None:
    served = serve(sink_port=door.port, error_handling={"max_retries": 0})
    served.fill(3_000, rows_per_s=250)
    served.manage("run")
    served.until_copied(800)
    door.close()
    served.until_said("failed, and is not tried again before the next slot")
    kept = served.machine.root / f"var/lib/etl/{served.name}/unrecorded.jsonl"
    until(kept.exists)
    served.signal(served.supervisor, "KILL")  # it survives that, too
    served.until("NRestarts", lambda value: value == "1")
    served.until_said("Connection refused")
    door.open()
    served.until_rows("SELECT answer FROM etl.requests", [("failed",)])
    assert [state for state, _ in served.runs()] == ["failed"]
