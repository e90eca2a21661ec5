"""Alerts: what is told to whom when a pipeline needs somebody, and how it is sent (Apprise).

Apprise is imported only where one is sent, in a short process of its own (`python -m etl_cli.runtime alert`), so
that a slow mail server never holds up a service.
"""

from __future__ import annotations

import json
import logging
import socket
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
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


def unknown_urls(config: Config) -> list[str]:
    """A line for each URL of `alerts.urls` that Apprise does not know; a URL itself is never shown."""
    if not config.alerts.urls:
        return []
    from apprise import Apprise

    return [
        f"alerts.urls[{number}] ({url.get_secret_value().partition(':')[0]}) is not a URL that Apprise knows: "
        "see its list of services, e.g. mailto://user:password@host"
        for number, url in enumerate(config.alerts.urls)
        if not Apprise().add(url.get_secret_value())
    ]


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
    _listen()
    said: dict[str, None] = {}
    before = _SAID.set(said)
    tries = Retrying(
        stop=stop_after_attempt(_TRIES), wait=wait_exponential(max=10), retry=retry_if_result(lambda took: not took)
    )
    kind, text = kinds.get(alert.reason, NotifyType.FAILURE), NotifyFormat.TEXT
    try:
        tries(service.notify, title=alert.title, body=alert.body, notify_type=kind, body_format=text)
    except RetryError:
        return " ".join(list(said)[-2:]) or "it did not take it"
    finally:
        _SAID.reset(before)
    return None


_SAID: ContextVar[dict[str, None] | None] = ContextVar("said", default=None)
"""What was said of the alert that is being sent; Apprise's threads inherit it, other alerts have their own."""


@cache
def _listen() -> None:
    """Hear what Apprise says from now on; nobody else does."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(_Listener())


class _Listener(logging.Handler):
    """Keeps what Apprise said of a failure, of which it gives back no more than that there was one.

    The reason itself it tells to debuggers only: "Socket Exception: ...".
    """

    def emit(self, record: logging.LogRecord) -> None:
        said = _SAID.get()
        line = " ".join(record.getMessage().split())
        if said is not None and (record.levelno >= logging.WARNING or "Exception" in line):
            said[line] = None
