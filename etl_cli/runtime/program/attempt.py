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

from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.parent import die_with_parent
from etl_cli.runtime.program.context import Run
from etl_cli.runtime.program.execute import execute_step
from etl_cli.runtime.program.importing import declared_in
from etl_cli.runtime.redact import redact, secrets_in

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
            tell(execute_step(step, run))
        finally:
            run.sink.close()
    except EtlError as error:
        tell({"state": "failed", "error": redact(str(error), secrets)})
    return 0


def main(directory: Path) -> int:
    """Read the task and run it; ends with the run that asked for it."""
    die_with_parent()
    return run_step(directory, json.loads(sys.stdin.read()))
