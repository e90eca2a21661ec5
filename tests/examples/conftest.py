"""The examples as a user runs them: copied, with a .env from .env.template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from etl_cli.sandbox.sandbox import seed_server
from tests.support.database import SinkDatabase
from tests.support.examples import Example, copied
from tests.support.source import Server, servers


@pytest.fixture(scope="module")
def shop() -> Iterator[list[Server]]:
    """Four stand-ins with the sandbox's shop."""
    with servers() as four:
        if four[0].standin is None:
            pytest.skip("the shop's four shards have the same database name: they are servers of their own")
        # in processes: pyodbc's fast_executemany keeps the interpreter to itself, and the stand-ins are in this one
        with ProcessPoolExecutor(len(four), get_context("spawn")) as pool:
            list(pool.map(seed_server, [s.host for s in four], [s.port for s in four], range(1, len(four) + 1)))
        yield four


@pytest.fixture
def example(tmp_path: Path, sink: SinkDatabase) -> Callable[..., Example]:
    """Copies an example: `example("maths")`, `example("orders", shop)`."""

    def make(name: str, servers: list[Server] | None = None) -> Example:
        return copied(name, tmp_path, sink, servers or [])

    return make
