"""A real Postgres for the session, and a fresh database in it for each test that asks for one.

ETL_TEST_POSTGRES_BIN names the bin directory of another installation than the embedded one.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))  # `tests.support` is found in a checkout that is not installed, too

from etl_cli.sandbox.postgres import PostgresServer  # noqa: E402
from tests.support.database import Databases, SinkDatabase  # noqa: E402
from tests.support.reaper import reaped  # noqa: E402
from tests.support.traps import coverage  # noqa: E402

# a crash of the test machine may cost the cluster; autovacuum would hold snapshots that nobody asked for
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "logical",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = os.environ.get("ETL_TEST_POSTGRES_BIN")
    # pytest's own temporary directories are closed to the user `nobody`, who runs Postgres where tests run as root
    directory = Path(tempfile.mkdtemp(prefix="etl-test-postgres-", dir="/tmp"))
    directory.chmod(0o755)
    server = PostgresServer(
        directory, free_port(), settings=FAST, binaries=Path(binaries) if binaries is not None else None
    )
    with reaped(directory):
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer) -> Iterator[Databases]:
    databases = Databases(postgres)
    yield databases
    databases.close()


@pytest.fixture
def sink(databases: Databases) -> Iterator[SinkDatabase]:
    with databases.lend() as database:
        yield database


@pytest.fixture(scope="module")
def shared_sink(databases: Databases) -> Iterator[SinkDatabase]:
    """One database for the tests of a module that leave nothing in it."""
    with databases.lend() as database:
        yield database


@pytest.fixture
def quiet(sink: SinkDatabase, databases: Databases) -> None:
    """Nobody but the test writes to the server."""
    assert sink
    databases.settle()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Remember what the tests promise, for the summary; a part of them would say nothing."""
    if session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS or session.config.option.keyword:
        return
    docstrings = [getattr(getattr(item, "function", None), "__doc__", None) for item in session.items]
    session.config.stash[_TRAPS] = coverage(docstrings)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how many rows of the table of traps have their test."""
    if _TRAPS in config.stash:
        terminalreporter.write_line(config.stash[_TRAPS])


_TRAPS = pytest.StashKey[str]()
