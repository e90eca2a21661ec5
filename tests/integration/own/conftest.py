"""Makes pipelines whose etl.py reads for itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.database import SinkDatabase
from tests.support.own import own_pipeline
from tests.support.pipeline import PipelineDirectory


@pytest.fixture
def own(tmp_path: Path, sink: SinkDatabase) -> Callable[..., PipelineDirectory]:
    """Makes one of the lines of its etl.py, and blocks of config.yaml."""
    return lambda body, **blocks: own_pipeline(tmp_path, sink, body, **blocks)
