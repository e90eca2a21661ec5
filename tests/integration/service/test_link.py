"""The supervisor's connection to the ledger."""

from __future__ import annotations

import selectors
from collections.abc import Iterator

import pytest

from etl_cli.runtime.config import load_config
from etl_cli.runtime.ledger.requests import ask
from etl_cli.runtime.service.link import ANSWER_S, Link
from tests.support.copying import Make
from tests.support.database import SUPERUSER, SinkDatabase
from tests.support.waiting import until


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        yield selector


@pytest.fixture
def link(pipeline: Make, selector: selectors.BaseSelector) -> Iterator[Link]:
    directory = pipeline({"source": "dbo.orders"}, connection={"timeout": "5m"})
    link = Link(load_config(directory.path), selector, lambda: None)
    assert link.connect()
    yield link
    link.close()


def test_a_request_that_arrives_beside_an_answer_is_heard(link: Link, sink: SinkDatabase) -> None:
    with sink.open() as connection:
        ask(connection, "test", "run", {}, "somebody")
    link.ask(
        lambda c: c.execute("SELECT pg_sleep(0.1)")
    )  # reads the notification, after which nothing wakes a selector
    assert link.heard()


def test_a_request_wakes_the_selector_also_after_a_new_connection(
    link: Link, selector: selectors.BaseSelector, sink: SinkDatabase
) -> None:
    """Which mostly gets the number of the one before."""
    for _ in range(2):
        link.close()
        assert not selector.get_map()
        assert link.connect()
    with sink.open() as connection:
        ask(connection, "test", "run", {}, "somebody")
    assert selector.select(10)
    assert link.heard()


def test_a_connection_that_an_answer_shows_to_be_lost_is_given_up(
    link: Link, selector: selectors.BaseSelector, sink: SinkDatabase
) -> None:
    with sink.connect(SUPERUSER) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'etl-cli test serve'"
        )
    until(lambda: link.ask(lambda c: c.execute("SELECT 1")) is None)
    assert link.is_lost
    assert not selector.get_map()
    assert link.connect()
    assert not link.is_lost


def test_a_host_that_is_silent_holds_the_loop_up_for_less_than_the_watchdog_waits(link: Link) -> None:
    """Whatever `connection.timeout` says."""
    settings = link.ask(lambda c: c.info.get_parameters())
    assert settings is not None
    assert float(settings["connect_timeout"]) == ANSWER_S
    assert float(settings["tcp_user_timeout"]) == ANSWER_S * 1000
