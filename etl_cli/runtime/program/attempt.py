"""One step in a process of its own: `python -m etl_cli.runtime step DIRECTORY`, its task as JSON on standard input.

So a timeout and a cancel really end it, and its memory goes back.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import ConfigError, EtlError
from etl_cli.runtime.parent import die_with_parent
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.declared import Step, parameters_of
from etl_cli.runtime.program.importing import PROGRAM, declared_in
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
        config = load_config(directory)
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
        if step.when is not None and not step.when(**_arguments(parameters_of(step.when), run, None)):
            return {"state": "skipped"}
        if step.kind == "sql":
            return {"state": "succeeded", "result": _execute_file(step, run)}
        assert step.function is not None
        result = step.function(**_arguments((step.takes, step.optional), run, step.model))
    except EtlError:
        raise
    except Exception as error:
        raise EtlError(f'step "{step.name}" failed: {_told(error, run.directory)}') from error
    try:
        json.dumps(result)
    except (TypeError, ValueError) as error:
        raise EtlError(
            f'step "{step.name}" gives back what JSON cannot hold: {error}',
            "return numbers, texts, lists and dicts; write rows into the sink instead",
        ) from None
    return {"state": "succeeded", "result": result}


def _arguments(names: tuple[tuple[str, ...], tuple[str, ...]], run: Run, model: Any) -> dict[str, Any]:
    takes, optional = names
    known = {**run.params, **run.results, "run": run}
    if model is not None:
        run.params = model.model_validate(run.params)
        known = {**known, "params": run.params}
    missing = [name for name in takes if name not in known and name not in optional]
    if missing:
        raise ConfigError(f"the step takes {', '.join(missing)}, which is no step and no parameter of the run")
    return {name: known[name] for name in takes if name in known}


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


def _told(error: Exception, directory: Path) -> str:
    """The exception on one line, with the line of etl.py that it comes from."""
    program = str(directory.resolve() / PROGRAM)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == program]
    place = f" (etl.py, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def main(directory: Path) -> int:
    """Read the task and run it; ends with the run that asked for it."""
    die_with_parent()
    return run_step(directory, json.loads(sys.stdin.read()))
