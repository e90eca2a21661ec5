"""One stand-in in a child process for all tests of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pyodbc
import pytest

from etl_cli.sandbox.standin import StandInProcess
from tests.integration.standin.drivers import Drivers, number_of

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def standin() -> Iterator[StandInProcess]:
    with StandInProcess() as server:
        yield server


@pytest.fixture
def connect(standin: StandInProcess) -> Iterator[Drivers]:
    """Connections to the shared stand-in, without faults and with fresh counters."""
    standin.call("clear")
    standin.call("reset_counters")
    with ExitStack() as stack:
        yield Drivers(standin, stack)
    standin.call("clear")


@pytest.fixture
def drivers_of() -> Iterator[Callable[[StandInProcess], Drivers]]:
    """Connections to a stand-in of the test's own."""
    with ExitStack() as stack:
        yield lambda server: Drivers(server, stack)


@pytest.fixture
def table() -> str:
    """A table's name that no other test uses."""
    return f"dbo.t{next(_numbers)}"


@pytest.fixture
def sql(connect: Drivers) -> Callable[..., list[Any]]:
    """Runs a statement through Microsoft's driver and returns its rows as tuples."""
    connection = connect.odbc()

    def run(statement: str, *parameters: Any) -> list[Any]:
        cursor = connection.execute(statement, *parameters)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    return run


@pytest.fixture
def one(sql: Callable[..., list[Any]]) -> Callable[..., Any]:
    """Runs a statement that answers with one value."""

    def run(statement: str, *parameters: Any) -> Any:
        rows = sql(statement, *parameters)
        assert len(rows) == 1
        assert len(rows[0]) == 1
        return rows[0][0]

    return run


@pytest.fixture
def error_number() -> Callable[..., int]:
    """Runs a statement that must fail and returns SQL Server's number of the error."""

    def run(connection: pyodbc.Connection, statement: str, *parameters: Any) -> int:
        with pytest.raises(pyodbc.Error) as caught:
            _run_to_its_end(connection, statement, parameters)
        return number_of(caught.value)

    return run


def _run_to_its_end(connection: pyodbc.Connection, statement: str, parameters: tuple[Any, ...]) -> None:
    """An error may come with a later result than the first."""
    cursor = connection.execute(statement, *parameters)
    while True:
        if cursor.description:
            cursor.fetchall()
        if not cursor.nextset():
            return
