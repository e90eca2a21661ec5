"""Pipelines in the machine as a user has them: generated, served by the real `serve`, between shards and a sink."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.copy.conftest import shards, source_servers
from tests.support.database import SinkDatabase
from tests.support.source import Shards
from tests.systemd import host
from tests.systemd.machine import Machine
from tests.systemd.serve.served import Served

__all__ = ["shards", "source_servers"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def etl_host(machine: Machine) -> Machine:
    """The machine, with etl-cli installed."""
    host.add_interpreter(machine)
    return machine


@pytest.fixture
def serve(etl_host: Machine, shards: Shards, sink: SinkDatabase) -> Iterator[Callable[..., Served]]:
    """Generates a pipeline of dbo.orders and starts its service: `serve(schedule="@every 5s")`."""
    if shards[0].server.standin is None:
        pytest.skip("a real server cannot be filled, slowed and stalled to order")
    made: list[Served] = []

    def make(*drop_in: str, sink_port: int | None = None, **keys: Any) -> Served:
        name = f"shop-{next(_numbers)}"
        served = Served(etl_host, name, Path("/etc/etl/pipelines") / name, shards, sink)
        made.append(served)
        served.generate(sink_port or sink.port)
        served.change(**keys)
        if drop_in:
            served.drop_in("[Service]", *drop_in)
        served.manage("start")
        return served

    yield make
    for shard in shards:
        assert shard.server.standin is not None
        shard.server.standin.faults.clear()
    for served in made:
        print(etl_host.run("journalctl", "--no-pager", "-u", served.unit).out)  # shown where the test has failed
        served.remove()
