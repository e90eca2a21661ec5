"""Executes a step's Python or SQL, in whichever process."""

from __future__ import annotations

from typing import Any

import psycopg

from etl_cli.runtime.errors import ConfigError, EtlError
from etl_cli.runtime.program.arguments import arguments_of
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.declared import Step
from etl_cli.runtime.program.importing import told_of
from etl_cli.runtime.program.json_values import refuse_what_json_cannot_hold
from etl_cli.runtime.sink.connect import translate


def execute_step(step: Step, run: Run) -> dict[str, Any]:
    """Its `state`, succeeded or skipped, and its `result`. Raises EtlError."""
    try:
        if step.when is not None:
            asked = arguments_of(step.when, _known(run), f"`when` of step {step.name}")
            if not step.when(**asked):
                return {"state": "skipped"}
        if step.kind == "sql":
            return {"state": "succeeded", "result": _execute_file(step, run)}
        assert step.function is not None
        result = step.function(**arguments_of(step.function, _known(run, step.model), f"step {step.name}"))
    except EtlError:
        raise
    except Exception as error:
        raise EtlError(f'step "{step.name}" failed: {told_of(error, run.directory)}') from error
    remedy = "return numbers, texts, lists and dicts; write rows into the sink instead"
    refuse_what_json_cannot_hold(result, f'step "{step.name}" gives back', remedy)
    return {"state": "succeeded", "result": result}


def _known(run: Run, model: Any = None) -> dict[str, Any]:
    """What a step's function and its `when` may take, by name."""
    known = {**run.params, **run.results, "run": run, "params": dict(run.params)}
    if model is not None:
        known["params"] = run.params = model.model_validate(run.params)
    return known


def _execute_file(step: Step, run: Run) -> dict[str, Any]:
    """All statements of the file in one transaction."""
    file = run.directory / "sql" / step.file
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f'step "{step.name}": {file} cannot be read ({error.strerror})', "put it there") from None
    connection = run.sink.connection
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(text)
            rows = cursor.rowcount
            while cursor.nextset():
                rows = cursor.rowcount
    except psycopg.Error as error:
        raise translate(error, f'step "{step.name}" ({step.file})') from error
    return {"rows": max(0, rows)}
