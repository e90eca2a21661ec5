"""Begins a run in the ledger: anew, as another attempt of an interrupted one, or in the place of a failed one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import UsageError
from etl_cli.runtime.ledger.ledger import Ledger, PastTask
from etl_cli.runtime.ledger.rescue import drop_leftovers, end_sessions
from etl_cli.runtime.ledger.steps import take_over_steps
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan_program import declared_of
from etl_cli.runtime.planning import Marks, Resolved
from etl_cli.runtime.request import Request
from etl_cli.runtime.resumption import Beginning, beginning
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.windows import from_ledger


@dataclass(frozen=True)
class Begun:
    """A run in state running, and the tasks that it goes on with (none = it begins anew)."""

    run_id: int
    attempt: int
    how: str
    tasks: Mapping[tuple[str, str], PastTask]
    note: str | None = None
    """What is to be told of it."""


def begin(
    ledger: Ledger, connection: SinkConnection, config: Config, request: Request, resolved: Resolved, marks: Marks
) -> Begun:
    """The run that this process works on from now on. Raises UsageError for a run or a step that is unknown."""
    fingerprint = fingerprint_of(config, resolved)
    decided = beginning(config, request, fingerprint, ledger.last_run(config.name))
    tasks: Mapping[tuple[str, str], PastTask] = {}
    if decided.of is not None:
        tasks = ledger.tasks_of(decided.of.run_id)
        if not _still_fits(connection, resolved, tasks, marks, decided.of.run_id):
            told = f"run {decided.of.run_id} cannot be resumed: what it left in the sink is gone or has changed"
            decided, tasks = Beginning("anew", note=f"{told}; this run starts anew"), {}
    keep = [task.shadow for task in tasks.values() if task.shadow]
    names = [*(t.plan.source for t in resolved.tables), *declared_of(config).sources]
    drop_leftovers(connection, config.name, names, keep, config.resume_within)
    if decided.how == "resume" and decided.of is not None:
        end_sessions(connection, decided.of.run_id)
        return Begun(decided.of.run_id, ledger.resume_run(decided.of.run_id), "resume", tasks, decided.note)
    if decided.how == "retry" and decided.of is not None:
        request = replace(request, params={**ledger.params_of(decided.of.run_id), **request.params})
    keep = _kept_steps(connection, config, request) if request.rerun_of is not None else []
    run_id = ledger.start_run(config.name, fingerprint, request)
    if decided.how == "retry" and decided.of is not None:
        end_sessions(connection, decided.of.run_id)
        ledger.take_over(decided.of.run_id, run_id)
        take_over_steps(connection, decided.of.run_id, run_id)
    elif request.rerun_of is not None:
        ledger.link_retry(request.rerun_of, run_id)
        take_over_steps(connection, request.rerun_of, run_id, keep)
    return Begun(run_id, 1, decided.how, tasks, decided.note)


def _kept_steps(connection: SinkConnection, config: Config, request: Request) -> list[str]:
    """The steps that a rerun does not run again. Raises UsageError for a run or a step that is unknown."""
    declared = declared_of(config)
    names = [node.name for node in declared.graph().nodes]
    row = connection.execute(
        "SELECT FROM etl.runs WHERE pipeline = %s AND run_id = %s", [config.name, request.rerun_of]
    ).fetchone()
    if row is None:
        raise UsageError(f"{config.name} has no run {request.rerun_of}", f"see manage-pipeline history {config.name}")
    if request.from_step not in names:
        raise UsageError(f"no step is named {request.from_step}", f"the steps are {', '.join(names)}")
    again = declared.graph().from_(request.from_step)
    return [name for name in names if name not in again]


def fingerprint_of(config: Config, resolved: Resolved) -> str:
    """Of what is read, where from, and what becomes of it: a run is resumed only with its own."""
    source = config.source
    places = [(s.name, s.host, s.port, s.database or source.database) for s in source.shards]
    facts: list[object] = [resolved.plan.fingerprint, source.driver, places]
    own = [(s.name, s.mode, s.scope(config.sink.schema_)) for s in declared_of(config).sources.values()]
    return hashlib.sha256(json.dumps(facts + own).encode()).hexdigest()[:16]


def _still_fits(
    connection: SinkConnection,
    resolved: Resolved,
    tasks: Mapping[tuple[str, str], PastTask],
    marks: Marks,
    run_id: int,
) -> bool:
    """Whether shadows, targets and watermarks are as the run left them."""
    for table in resolved.tables:
        for shard in resolved.shards:
            past = tasks.get((table.plan.source, shard))
            if past is None:
                continue  # its copy had not begun, so nothing of it is there
            if past.windows is None:
                return False
            # what a watermark of an earlier mode tells is nothing to a table that is read whole
            mark = marks.get((table.plan.source, shard)) if table.plan.incremental else None
            fixed = from_ledger(past.windows)
            moved_by_chunk = past.chunks > 0 and table.loading.how in ("insert", "append", "merge")
            untouched = (mark.position if mark else None) == fixed.before
            is_own = mark is not None and mark.run_id == run_id
            if not is_own and (not untouched or (moved_by_chunk and len(fixed.windows) == 1)):
                return False
            if table.loading.how != "shadow" and table.target is None:
                return False
            if past.shadow is None or past.state == "applied":
                continue
            schema = past.shadow.partition(".")[0]
            renamed = table.loading.how == "shadow" and table.apply.how != "difference"
            there = connection.execute(
                "SELECT to_regclass(%s) IS NOT NULL", [quote_sink(*past.shadow.split(".", 1))]
            ).fetchone()
            if not (there and there[0]) or (renamed and schema != table.plan.target_schema):
                return False
    return True
