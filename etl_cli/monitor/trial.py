"""Tries the alerts of one pipeline, before they are needed."""

from __future__ import annotations

from pathlib import Path

from etl_cli.runtime.alerts import Alert, Delivery, deliver
from etl_cli.runtime.config.load import load_config
from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.redact import secrets_in


def send_test_alert(directory: Path) -> list[Delivery]:
    """Send one to every URL of `alerts.urls`, now, whatever `alerts.on` says; what became of each.

    Raises ConfigError where there is none.
    """
    config = load_config(directory)
    if not config.alerts.urls:
        raise ConfigError(
            f"{directory / 'config.yaml'}: alerts.urls is empty, so nobody is told of anything",
            "add a line such as: alerts: {urls: ['mailtos://${MAIL_USER}:${MAIL_PASSWORD}@example.org?to=you@example.org']}",
        )
    alert = Alert("test", config.name, "This is a test: somebody asked for it, and nothing is wrong.")
    return deliver(config.alerts, alert, secrets_in(config))
