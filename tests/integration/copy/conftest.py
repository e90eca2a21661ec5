"""Four shards, a sink and a pipeline between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory, write_config
from tests.support.source import Server, Shards, fresh_shards, servers

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def source_servers() -> Iterator[list[Server]]:
    with servers() as four:
        yield four


@pytest.fixture
def shards(source_servers: list[Server]) -> Iterator[Shards]:
    with fresh_shards(source_servers, next(_numbers)) as four:
        yield four


@pytest.fixture
def pipeline(tmp_path: Path, shards: Shards, sink: SinkDatabase) -> Callable[..., PipelineDirectory]:
    """Makes a pipeline: `pipeline({"source": "dbo.orders"}, sink={...}, source={...})`."""

    def make(*tables: dict[str, Any], **blocks: Any) -> PipelineDirectory:
        source = shards.config(**blocks.pop("source", {}))
        target = {
            "host": sink.host,
            "port": sink.port,
            "user": sink.user,
            "password": sink.password,
            "database": sink.database,
            **blocks.pop("sink", {}),
        }
        config = {
            "name": "test",
            "id": "0123abcd",
            "connection": {"retries": 0, "timeout": "5s"},
            "source": source,
            "sink": target,
            "tables": list(tables),
            **blocks,
        }
        write_config(tmp_path, config)
        return PipelineDirectory(tmp_path)

    return make
