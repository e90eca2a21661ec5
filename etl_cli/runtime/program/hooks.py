"""Calls what etl.py wants to hear of: runs, steps, tables, batches, retries, errors.

A hook's own error is told in the run's log and never ends or hides anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from etl_cli.runtime.program.declared import Declared

Hook = Literal[
    "on_run_start",
    "on_run_end",
    "on_step_start",
    "on_step_end",
    "on_table_start",
    "on_table_end",
    "on_read",
    "on_write",
    "on_batch",
    "on_retry",
    "on_error",
]
HOOKS: tuple[Hook, ...] = get_args(Hook)
BATCH_HOOKS: tuple[Hook, ...] = ("on_read", "on_write", "on_batch")
"""Those that the processes call which move the rows; the others are called by the run's own."""


@dataclass(frozen=True)
class Event:
    """What has happened. `rows` and `bytes` are of the batch, the task or the run; None where there are none.

    `on_read` follows each batch that was read, `on_batch` its way through the changes of etl.py, `on_write` its COPY.
    `seconds` is how long it took, of a retry how long is waited.
    """

    name: Hook
    pipeline: str
    run_id: int
    table: str | None = None
    shard: str | None = None
    step: str | None = None
    state: str | None = None
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    error: str | None = None


class Hooks:
    """Of one run; calls come from one thread at a time."""

    def __init__(self, declared: Declared, pipeline: str, run_id: int, tell: Callable[[str], None]) -> None:
        self._declared = declared
        self._pipeline = pipeline
        self._run_id = run_id
        self._tell = tell
        self._turn = threading.RLock()

    def wants(self, *names: Hook) -> bool:
        """Whether anybody hears of these."""
        return any(self._declared.hooks.get(name) for name in names)

    def call(
        self,
        name: Hook,
        *,
        table: str | None = None,
        shard: str | None = None,
        step: str | None = None,
        state: str | None = None,
        rows: int | None = None,
        bytes: int | None = None,  # noqa: A002 - the field's name
        seconds: float | None = None,
        error: str | None = None,
    ) -> None:
        """Call every function that hears of it, in the order of their declaration."""
        functions = self._declared.hooks.get(name)
        if not functions:
            return
        event = Event(name, self._pipeline, self._run_id, table, shard, step, state, rows, bytes, seconds, error)
        with self._turn:
            for function in functions:
                try:
                    function(event)
                except Exception as failure:
                    named = getattr(function, "__name__", "hook")
                    self._tell(f'{name} "{named}" failed: {type(failure).__name__}: {failure}')
