"""What waits for another try."""

from __future__ import annotations

import datetime as dt

import pytest

from etl_cli.runtime.request import Request
from etl_cli.runtime.service.retries import Retries
from etl_cli.runtime.service.timers import Timers
from etl_cli.runtime.service.work import Queue, Work

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
ALIKE = {
    "requests": [Work("request", Request("ann"), request_id=number) for number in (1, 2)],
    "entries of one slot": [Work("slot", Request("slot"), NOON, entry) for entry in (0, 1)],
}
LONG_DUE_S = -2 * 86_400.0
"""In whatever zone this process is: a service's own runs in UTC."""


@pytest.mark.parametrize("alike", ALIKE)
def test_each_of_two_that_are_named_alike_is_tried_again(alike: str) -> None:
    works, queue, timers = ALIKE[alike], Queue("skip"), Timers()
    retries = Retries(timers, queue)
    for work in works:
        retries.add(work, LONG_DUE_S)
    timers.run_due()
    assert sorted(queue.waiting, key=works.index) == works
    assert not retries.are_waiting


def test_what_is_forgotten_is_not_tried_again() -> None:
    works, queue, timers = ALIKE["requests"], Queue("skip"), Timers()
    retries = Retries(timers, queue)
    for work in works:
        retries.add(work, LONG_DUE_S)
    assert retries.forget(lambda work: work.request_id == 1) == works[:1]
    timers.run_due()
    assert list(queue.waiting) == works[1:]
