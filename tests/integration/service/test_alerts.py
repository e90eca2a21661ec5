"""The service tells somebody when it needs to: by a real mail server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etl_cli.runtime.ledger.requests import ask
from tests.conftest import free_port
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.forward import Forwarder
from tests.support.mail import Mailbox, mail_server
from tests.support.serving import ORDERS, runs, serving
from tests.support.source import Shards
from tests.support.waiting import until

NUL = "INSERT INTO dbo.orders VALUES (3, NCHAR(0))"
TABLE = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(5) NULL)"
QUICK = {"max_retries": 1, "retry_delay": "1s"}


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with mail_server(free_port()) as box:
        yield box


def run_once(sink: SinkDatabase, answers: int) -> None:
    with sink.open() as connection:
        ask(connection, "test", "run", {}, "somebody")
    until(lambda: rows_of(sink, "SELECT count(*) FROM etl.requests WHERE answer IS NOT NULL") == [(answers,)], 60)


def test_a_failure_is_told_once_after_the_final_attempt_and_the_recovery_once(
    shards: Shards, sink: SinkDatabase, pipeline: Make, mail: Mailbox
) -> None:
    """Trap 26."""
    shards.execute(TABLE)
    shards[1].execute(NUL)
    directory = pipeline({"source": "dbo.orders"}, error_handling=QUICK, alerts={"urls": [mail.url]})
    with serving(directory):
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        run_once(sink, 1)
        until(lambda: mail.messages)
        shards[1].execute("DELETE FROM dbo.orders WHERE id = 3", "INSERT INTO dbo.orders VALUES (4, N'good')")
        run_once(sink, 2)
        until(lambda: len(mail.messages) == 2)
        run_once(sink, 3)
    assert [state for state, _ in runs(sink)] == ["failed", "failed", "succeeded", "succeeded"]
    assert [subject.partition(" on ")[0] for subject in mail.subjects] == ["etl-test failed", "etl-test is well again"]
    told = mail.text(0)
    for wanted in ("U+0000", "run       2", "dbo.orders of shard2", "manage-pipeline logs test", "last log lines"):
        assert wanted in told, told
    assert sink.password not in told


def test_a_slot_that_finds_no_ledger_is_told_once_and_made_up_for(
    shards: Shards, sink: SinkDatabase, pipeline: Make, mail: Mailbox
) -> None:
    shards.execute(*ORDERS)
    with Forwarder(sink.host, sink.port) as way:
        directory = pipeline(
            {"source": "dbo.orders"},
            sink={"host": "127.0.0.1", "port": way.port},
            schedule="@every 20s",
            alerts={"urls": [mail.url]},
        )
        with serving(directory, reconnect_s=1):
            until(lambda: rows_of(sink, "SELECT 1 FROM etl.slots WHERE outcome = 'succeeded'"))
            way.close()
            until(lambda: mail.messages)
            way.open()
            until(lambda: rows_of(sink, "SELECT count(*) FROM etl.slots WHERE outcome = 'succeeded'")[0][0] >= 2)
    assert [subject.partition(" on ")[0] for subject in mail.subjects] == ["etl-test missed its time"]
    assert "no ledger" in mail.text(0)


def test_an_alert_that_nobody_takes_is_told_in_the_log_and_holds_nothing_up(
    shards: Shards, sink: SinkDatabase, pipeline: Make, mail: Mailbox
) -> None:
    shards.execute(TABLE)
    shards[1].execute(NUL)
    mail.refuses = True
    directory = pipeline({"source": "dbo.orders"}, error_handling={"max_retries": 0}, alerts={"urls": [mail.url]})
    with serving(directory) as service:
        until(lambda: rows_of(sink, "SELECT 1 FROM etl.pipelines"))
        run_once(sink, 1)
        service.said("alerts.urls[0] (mailto)")
        service.said("not today")
