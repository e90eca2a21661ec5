"""Sends one alert, in a process of its own: `python -m etl_cli.runtime alert DIRECTORY`, with the alert as input."""

from __future__ import annotations

from pathlib import Path

from etl_cli.runtime.alerts import Alert, send
from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.service.log import Log


def send_alert(directory: Path, text: str) -> int:
    """Send it; the exit code. What went wrong is in the log."""
    log = Log(directory.name)
    try:
        send(load_config(directory), Alert.of_json(text))
    except EtlError as error:
        log.error(str(error))
        return error.exit_code
    return 0
