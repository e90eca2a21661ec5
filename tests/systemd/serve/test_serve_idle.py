"""What a service costs while nothing is due."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.waiting import until
from tests.systemd.serve.served import Served

pytestmark = pytest.mark.timeout(120)

WATCHED_S = 25


def test_an_idle_supervisor_is_small_and_asleep(serve: Callable[..., Served]) -> None:
    served = serve(schedule="@yearly")
    served.fill(10)
    served.manage("run", "--wait")  # small after work, too
    assert served.show("WatchdogUSec") == "1min"
    pid = served.supervisor
    until(lambda: not served.children_of(pid))
    assert served.rss_bytes(pid) <= 60e6
    before = wake_ups(served, pid)
    time.sleep(WATCHED_S)  # the time that is measured
    woken = wake_ups(served, pid) - before
    assert woken <= WATCHED_S // 10, f"it woke {woken} times in {WATCHED_S} s"
    assert served.supervisor == pid


def wake_ups(served: Served, pid: int) -> int:
    """How often its threads have gone to sleep so far, which each had woken for."""
    switches = 0
    for status in (served.proc(pid) / "task").glob("*/status"):
        [line] = [line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches")]
        switches += int(line.split()[1])
    return switches
