"""A pipeline without tables: its etl.py has sources of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory, write_config
from tests.support.programs import program


@pytest.fixture
def own(tmp_path: Path, sink: SinkDatabase) -> Callable[..., PipelineDirectory]:
    """Makes one of the lines of its etl.py: `own(BODY, fail_fast=False)`."""

    def make(body: str, **blocks: Any) -> PipelineDirectory:
        target = {
            "host": sink.host,
            "port": sink.port,
            "user": sink.user,
            "password": sink.password,
            "database": sink.database,
        }
        config = {"name": "test", "id": "0123abcd", "connection": {"retries": 0, "timeout": "5s"}, "sink": target}
        write_config(tmp_path, {**config, **blocks})
        return program(PipelineDirectory(tmp_path), body)

    return make
