"""The service's clock with a ledger that answers what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.health import HistoryRow
from etl_cli.runtime.schedule import Schedule, Slot
from etl_cli.runtime.service.clock import Clock
from etl_cli.runtime.service.outlook import Outlook
from etl_cli.runtime.service.timers import Timers


class Answers:
    """A link that is up."""

    is_up = True

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """The next answer."""
        return self.answers.pop(0)


def test_a_slot_of_a_paused_pipeline_is_missed_by_nobody_who_asks_the_service() -> None:
    config = Config.model_validate({"name": "orders", "id": "00000001", "schedule": "@every 1h"})
    log: Any = SimpleNamespace(info=lambda text: None, warning=lambda text: None)
    alarm: Any = SimpleNamespace(raise_=lambda *a, **k: None)
    began = datetime.now(UTC) - timedelta(hours=3)
    outlook = Outlook(config, Schedule.of(config), log)
    outlook.view = outlook.view.__class__("orders", outlook.view.schedule, since=began, sign=datetime.now(UTC))
    outlook.look_back([HistoryRow(1, "succeeded", began, ended=began)])
    assert outlook.view.health().state in ("late", "ok")  # ok within the first minute of an hour
    begun: list[Slot] = []
    link: Any = Answers(began, "paused")
    clock = Clock(config, Timers(), link, log, alarm, begun.append, outlook.passed)
    clock.catch_up()
    assert (begun, outlook.view.health().state) == ([], "ok")
    assert [row.state for row in outlook.view.history or ()] == ["succeeded", "passed"]
