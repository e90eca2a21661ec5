"""Sends one alert, in a process of its own: `python -m etl_cli.runtime alert DIRECTORY`.

Its input is a line with the alert, and the config.yaml that the service has taken.
"""

from __future__ import annotations

from pathlib import Path

from etl_cli.runtime.alerts import Alert, send
from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.service.log import Log


def send_alert(directory: Path, told: str) -> int:
    """Send it; the exit code. What went wrong is in the log."""
    alert, _, text = told.partition("\n")
    log = Log(directory.name)
    try:
        config = load_config(directory, text=text)
        log = Log(config.name)
        send(config, Alert.of_json(alert))
    except EtlError as error:
        log.error(str(error))
        return error.exit_code
    return 0
