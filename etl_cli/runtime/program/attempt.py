"""One step in a process of its own: `python -m etl_cli.runtime step DIRECTORY`, its task as JSON on standard input.

So a timeout and a cancel really end it, and its memory goes back.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import ConfigError, EtlError
from etl_cli.runtime.parent import die_with_parent
from etl_cli.runtime.program.arguments import arguments_of
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.declared import Step
from etl_cli.runtime.program.importing import declared_in, told_of
from etl_cli.runtime.redact import redact, secrets_in
from etl_cli.runtime.sink.connect import translate

STEP_FD = "ETL_STEP_FD"
"""The environment variable that names the pipe's number to the step."""


def run_step(directory: Path, task: Mapping[str, Any]) -> int:
    """Run the step; tell what it gave, as JSON lines over the pipe. The exit code."""
    pipe = int(os.environ[STEP_FD])

    def tell(told: Mapping[str, Any]) -> None:
        os.write(pipe, json.dumps(told).encode() + b"\n")

    secrets: set[str] = set()
    try:
        config = load_config(directory, text=task.get("config"))
        secrets = secrets_in(config)
        step = next(s for s in declared_in(directory).all_steps() if s.name == task["step"])
        run = Run(
            config,
            directory,
            run_id=task.get("run_id"),
            step=step.name,
            params=task.get("params", {}),
            results=task.get("results", {}),
            tell=lambda told: tell({key: redact(v, secrets) if isinstance(v, str) else v for key, v in told.items()}),
        )
        try:
            tell(_ended(step, run))
        finally:
            run.sink.close()
    except EtlError as error:
        tell({"state": "failed", "error": redact(str(error), secrets)})
    return 0


def _ended(step: Step, run: Run) -> dict[str, Any]:
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
    try:
        json.dumps(result)
    except (TypeError, ValueError) as error:
        raise EtlError(
            f'step "{step.name}" gives back what JSON cannot hold: {error}',
            "return numbers, texts, lists and dicts; write rows into the sink instead",
        ) from None
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


def main(directory: Path) -> int:
    """Read the task and run it; ends with the run that asked for it."""
    die_with_parent()
    return run_step(directory, json.loads(sys.stdin.read()))
