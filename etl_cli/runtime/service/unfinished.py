"""What this host's service had taken from the ledger before it ended, by a stop, a crash or a loss of power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from etl_cli.runtime.ledger.requests import answer_request, unfinished_requests
from etl_cli.runtime.ledger.slots import end_slot, unfinished_slots
from etl_cli.runtime.request import Request
from etl_cli.runtime.schedule import Schedule, Slot
from etl_cli.runtime.service.work import Work
from etl_cli.runtime.sink.connect import SinkConnection

_ARGUMENTS = ("resume", "tables", "shards", "full", "where", "params", "steps", "rerun_of", "from_step")
_INSTANT = timedelta(microseconds=1)


def unfinished_work(connection: SinkConnection, pipeline: str, schedule: Schedule) -> list[Work]:
    """What is to be gone on with, or to be begun: a slot or a request that is taken is never forgotten.

    Where the run had ended already, that is recorded. A slot that a newer one of its entry has followed is skipped.
    """
    found = []
    for slot in unfinished_slots(connection, pipeline):
        if slot.run_state in ("succeeded", "cancelled"):
            end_slot(connection, pipeline, slot.due, slot.entry, slot.run_state)
        elif slot.is_followed:
            end_slot(connection, pipeline, slot.due, slot.entry, "skipped")
        else:
            there = schedule.slots_between(slot.due - _INSTANT, slot.due)
            known = next((one for one in there if one.entry == slot.entry), Slot(slot.due, slot.entry))
            found.append(_going_on(work_of_slot(known), slot.run_state))
    for request in unfinished_requests(connection, pipeline):
        if request.run_state in ("succeeded", "cancelled"):
            answer_request(connection, request.request_id, request.run_state)
        elif request.verb == "run":
            work = work_of_request(request.request_id, request.arguments, request.requested_by)
            found.append(_going_on(work, request.run_state))
    return found


def work_of_slot(slot: Slot) -> Work:
    """The run that a slot asks for."""
    request = Request("slot", tables=tuple(slot.tables or ()), full=slot.full, params=slot.params)
    return Work("slot", request, slot.due, slot.entry)


def work_of_request(request_id: int, arguments: Mapping[str, Any], requested_by: str) -> Work:
    """The run that a request asks for; arguments of a newer program are left out."""
    known = {name: arguments[name] for name in _ARGUMENTS if name in arguments}
    return Work("request", Request(requested_by, **known), request_id=request_id)


def _going_on(work: Work, run_state: str | None) -> Work:
    """From where its run stopped or failed; from the start where there is no run yet, or one of a part."""
    goes_on = run_state in ("interrupted", "failed") and not work.request.is_partial
    return replace(work, request=replace(work.request, resume=goes_on or work.request.resume))
