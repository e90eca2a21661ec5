"""One attempt, in a process of its own: `python -m etl_cli.runtime attempt DIRECTORY REQUEST < config.yaml`.

Its input is the configuration that the service has taken, whatever the file holds by now. It ends when its
supervisor does. Exit codes are those of `etl-cli run`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def attempt(directory: Path, request_json: str) -> int:
    """Run once, as the request says; tell the supervisor how it ended. The exit code."""
    from etl_cli.runtime.parent import die_with_parent

    die_with_parent()
    from etl_cli.runtime.config import load_config
    from etl_cli.runtime.errors import EtlError
    from etl_cli.runtime.interrupts import CancelledRunError, hear
    from etl_cli.runtime.outcome import RunFailedError
    from etl_cli.runtime.progress import Progress
    from etl_cli.runtime.redact import redact, secrets_in
    from etl_cli.runtime.request import Request
    from etl_cli.runtime.run import run_pipeline
    from etl_cli.runtime.service.reports import Report, Reporter, failed_tasks

    hear()
    reporter = Reporter()
    progress = Progress(listen=reporter)
    secrets: set[str] = set()
    try:
        config = load_config(directory, text=sys.stdin.buffer.read().decode())
        secrets = secrets_in(config)
        outcome = run_pipeline(config, progress, Request(**json.loads(request_json)))
    except RunFailedError as error:
        told, outcome = redact(str(error), secrets), error.outcome
        failed = failed_tasks(outcome.progress)
        reporter.send(Report("ended", run_id=outcome.run_id, state=outcome.state, error=told, failed=failed))
        return error.exit_code
    except EtlError as error:
        reporter.send(Report("ended", run_id=progress.run_id, state="failed", error=redact(str(error), secrets)))
        return error.exit_code
    except KeyboardInterrupt as stop:
        state = "cancelled" if isinstance(stop, CancelledRunError) else "interrupted"
        reporter.send(Report("ended", run_id=progress.run_id, state=state))
        return 130
    except Exception as error:
        told = redact(f"{type(error).__name__}: {error}", secrets)
        reporter.send(Report("ended", state="failed", error=f"{told}: this is a fault of etl-cli"))
        return 1
    totals = outcome.totals
    seconds = sum(outcome.seconds.values())
    reporter.send(Report("ended", totals.rows_read, run_id=outcome.run_id, state=outcome.state, seconds=seconds))
    return 0
