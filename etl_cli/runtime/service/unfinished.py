"""What this host's service had taken from the ledger before it ended, by a stop, a crash or a loss of power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from etl_cli.runtime.ledger.requests import VERBS, OpenRequest, answer_request, unfinished_requests, unknown
from etl_cli.runtime.ledger.rescue import cancel_interrupted, drop_leftovers
from etl_cli.runtime.ledger.slots import end_slot, unfinished_slots
from etl_cli.runtime.request import Request
from etl_cli.runtime.schedule import Schedule, Slot
from etl_cli.runtime.service.work import Work
from etl_cli.runtime.sink.connect import SinkConnection

_ARGUMENTS = ("resume", "tables", "shards", "full", "where", "params", "steps", "members", "rerun_of", "from_step")
_INSTANT = timedelta(microseconds=1)


def unfinished_work(connection: SinkConnection, pipeline: str, schedule: Schedule) -> list[Work]:
    """What is to be gone on with, or to be begun: a slot or a request that is taken is never forgotten.

    Where the run had ended already, that is recorded. A slot that a newer one of its entry has followed is skipped.
    A cancel holds for all that was taken before it, though the service ended before it could answer. Nothing of the
    pipeline runs on this host any more.
    """
    requests = unfinished_requests(connection, pipeline)
    cancels = [request for request in requests if request.verb == "cancel"]
    for cancel in cancels:
        cancel_interrupted(connection, pipeline, cancel.taken_at, f"cancelled by {cancel.requested_by}")
    if cancels:
        drop_leftovers(connection, pipeline, [], [], 0)
    cancelled_at = max((cancel.taken_at for cancel in cancels), default=None)
    of_slots = _work_of_slots(connection, pipeline, schedule, cancelled_at)
    return [*of_slots, *_work_of_requests(connection, requests, cancelled_at)]


def _work_of_slots(
    connection: SinkConnection, pipeline: str, schedule: Schedule, cancelled_at: datetime | None
) -> list[Work]:
    found = []
    for slot in unfinished_slots(connection, pipeline):
        if slot.run_state in ("succeeded", "cancelled"):
            end_slot(connection, pipeline, slot.due, slot.entry, slot.run_state)
        elif cancelled_at is not None and slot.taken_at <= cancelled_at:
            end_slot(connection, pipeline, slot.due, slot.entry, "cancelled")
        elif slot.is_followed:
            end_slot(connection, pipeline, slot.due, slot.entry, "skipped")
        else:
            there = schedule.slots_between(slot.due - _INSTANT, slot.due)
            known = next((one for one in there if one.entry == slot.entry), Slot(slot.due, slot.entry))
            found.append(_going_on(work_of_slot(known), slot.run_state))
    return found


def _work_of_requests(
    connection: SinkConnection, requests: Sequence[OpenRequest], cancelled_at: datetime | None
) -> list[Work]:
    found = []
    for request in requests:
        if request.verb not in VERBS:
            answer_request(connection, request.request_id, unknown(request.verb))
        elif request.run_state in ("succeeded", "cancelled"):
            answer_request(connection, request.request_id, request.run_state)
        elif cancelled_at is not None and request.taken_at <= cancelled_at:  # the cancel itself, too
            answer_request(connection, request.request_id, "cancelled")
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
