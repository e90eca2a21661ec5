"""Alerts: what is told to whom when a pipeline needs somebody, and how it is sent (Apprise).

Apprise is imported only where one is sent, in a short process of its own (`python -m etl_cli.runtime alert`), so
that a slow mail server never holds up a service.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from tenacity import RetryError, Retrying, retry_if_result, stop_after_attempt, wait_exponential

from etl_cli.runtime.config.model import Alerts, Config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.redact import redact, secrets_in

Reason = Literal["failure", "recovery", "missed", "dead", "stalled", "test"]
REASONS: tuple[Reason, ...] = get_args(Reason)

_TRIES = 3
_SUBJECTS: dict[Reason, str] = {
    "failure": "failed",
    "recovery": "is well again",
    "missed": "missed its time",
    "dead": "is down",
    "stalled": "is stuck",
    "test": "tries its alerts",
}


@dataclass(frozen=True)
class Alert:
    """What somebody is told; `tasks` are those that failed, `log` the last lines, `to_do` what helps."""

    reason: Reason
    pipeline: str
    what: str
    run_id: int | None = None
    tasks: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    to_do: str = ""
    host: str = field(default_factory=socket.gethostname)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(sep=" ", timespec="seconds"))

    @property
    def title(self) -> str:
        """`etl-orders failed on db7`."""
        return f"etl-{self.pipeline} {_SUBJECTS[self.reason]} on {self.host}"

    @property
    def body(self) -> str:
        """Plain text, the most important first."""
        facts = [self.what, "", f"pipeline  {self.pipeline}", f"host      {self.host}", f"time      {self.at}"]
        if self.run_id is not None:
            facts.append(f"run       {self.run_id}")
        facts += [f"{'table' if number == 0 else '':9} {task}" for number, task in enumerate(self.tasks)]
        if self.to_do:
            facts += ["", "What to do", f"  {self.to_do}"]
        if self.log:
            facts += ["", "The last log lines", *(f"  {line}" for line in self.log)]
        return "\n".join(facts)

    def as_json(self) -> str:
        """For the process that sends it."""
        return json.dumps(asdict(self))

    @staticmethod
    def of_json(text: str) -> Alert:
        """The inverse of `as_json`."""
        data: dict[str, Any] = json.loads(text)
        return Alert(**{**data, "tasks": tuple(data["tasks"]), "log": tuple(data["log"])})


def wants(config: Config, reason: Reason) -> bool:
    """Whether anybody wants to be told."""
    return bool(config.alerts.urls) and reason in config.alerts.on


@dataclass(frozen=True)
class Delivery:
    """Whether one service took an alert: `problem` is empty where it did.

    `where` names its place in config.yaml and its kind, never the URL, which may hold a password.
    """

    where: str
    problem: str = ""


def send(config: Config, alert: Alert) -> None:
    """Send it to every URL of `alerts.urls`; those that refuse it are tried again.

    Raises EtlError that names the services that did not take it.
    """
    deliveries = deliver(config.alerts, alert, secrets_in(config))
    failed = [f"{delivery.where}: {delivery.problem}" for delivery in deliveries if delivery.problem]
    if failed:
        raise EtlError(f"the alert was not sent: {'; '.join(failed)}", "try it with manage-pipeline test-alert")


def deliver(alerts: Alerts, alert: Alert, secrets: set[str]) -> list[Delivery]:
    """The same, and what became of each, with `secrets` taken out."""
    deliveries = []
    for number, secret in enumerate(alerts.urls):
        url = secret.get_secret_value()
        where = f"alerts.urls[{number}] ({url.partition(':')[0]})"
        deliveries.append(Delivery(where, redact(_sent(url, alert) or "", secrets)))
    return deliveries


def _sent(url: str, alert: Alert) -> str | None:
    """None where the service took it, else what it said."""
    from apprise import Apprise, NotifyFormat, NotifyType

    kinds = {"recovery": NotifyType.SUCCESS, "missed": NotifyType.WARNING, "test": NotifyType.INFO}
    service = Apprise()
    if not service.add(url):
        return "not a URL that Apprise knows"
    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    tries = Retrying(
        stop=stop_after_attempt(_TRIES), wait=wait_exponential(max=10), retry=retry_if_result(lambda took: not took)
    )
    kind = kinds.get(alert.reason, NotifyType.FAILURE)
    try:
        tries(service.notify, title=alert.title, body=alert.body, notify_type=kind, body_format=NotifyFormat.TEXT)
    except RetryError:
        return said.last or "it did not take it"
    finally:
        logger.removeHandler(said)
    return None


class _Said(logging.Handler):
    """Keeps the last thing that Apprise said of a failure: it returns no more than whether it worked."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = " ".join(record.getMessage().split())
