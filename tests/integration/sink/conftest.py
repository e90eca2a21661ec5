"""A connection to the test's own sink, and the target in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etl_cli.runtime.sink.connect import SinkConnection
from tests.support.database import SinkDatabase
from tests.support.orders import OLD, PLAN
from tests.support.publishing import replace


@pytest.fixture
def connection(sink: SinkDatabase) -> Iterator[SinkConnection]:
    """With the settings of a run."""
    with sink.open() as connection:
        yield connection


@pytest.fixture
def target(connection: SinkConnection) -> None:
    """public.orders as a first run leaves it, with the rows OLD."""
    assert replace(connection, PLAN, OLD).how == "create"
