"""The steps of a run in the ledger: their states and results, over a connection of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etl_cli.runtime.program.graph import State
from etl_cli.runtime.sink.connect import SinkConnection


@dataclass(frozen=True)
class PastStep:
    """A step as an earlier attempt left it."""

    state: State
    result: Any


def add_steps(connection: SinkConnection, run_id: int, steps: Sequence[str]) -> None:
    """Queue the steps of a run, in their order; those that are there already stay as they are."""
    connection.execute(
        "INSERT INTO etl.steps (run_id, step, place, state) SELECT %s, step, place, 'queued'"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS given(step, place) ON CONFLICT DO NOTHING",
        [run_id, list(steps)],
    )


def past_steps(connection: SinkConnection, run_id: int) -> dict[str, PastStep]:
    """The steps that a run has, by name."""
    rows = connection.execute("SELECT step, state, result FROM etl.steps WHERE run_id = %s", [run_id]).fetchall()
    return {step: PastStep(state, result) for step, state, result in rows}


def take_over_steps(connection: SinkConnection, old: int, new: int, steps: Sequence[str] | None = None) -> None:
    """Let a new run have these steps of an old one (None = all) that were done there."""
    connection.execute(
        "INSERT INTO etl.steps (run_id, step, place, state, tries, began_at, ended_at, result)"
        " SELECT %s, step, place, state, tries, began_at, ended_at, result FROM etl.steps"
        " WHERE run_id = %s AND (%s::text[] IS NULL OR step = ANY (%s)) AND state IN ('succeeded', 'skipped')",
        [new, old, *[list(steps) if steps is not None else None] * 2],
    )


def step_began(connection: SinkConnection, run_id: int, step: str) -> None:
    """queued -> running."""
    connection.execute(
        "UPDATE etl.steps SET state = 'running', began_at = clock_timestamp(), ended_at = NULL, error = NULL"
        " WHERE (run_id, step) = (%s, %s)",
        [run_id, step],
    )


def step_ended(
    connection: SinkConnection,
    run_id: int,
    step: str,
    state: State,
    *,
    tries: int = 1,
    result: Any = None,
    error: str | None = None,
) -> None:
    """running -> an end, or queued -> cancelled."""
    connection.execute(
        "UPDATE etl.steps SET state = %s, tries = %s, result = %s, error = %s, ended_at = clock_timestamp()"
        " WHERE (run_id, step) = (%s, %s)",
        [state, tries, json.dumps(result) if result is not None else None, error, run_id, step],
    )
