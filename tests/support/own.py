"""A pipeline without a source: what it reads is in its etl.py."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory, write_config
from tests.support.programs import program


def own_pipeline(path: Path, sink: SinkDatabase, body: str, **blocks: Any) -> PipelineDirectory:
    """A directory whose etl.py has these lines; `HERE` in them is its path."""
    write_config(
        path,
        {
            "name": "test",
            "id": "0123abcd",
            "connection": {"retries": 0, "timeout": "5s"},
            "sink": {
                "host": sink.host,
                "port": sink.port,
                "user": sink.user,
                "password": sink.password,
                "database": sink.database,
            },
            **blocks,
        },
    )
    return program(PipelineDirectory(path), f"\n{IMPORTS}{dedent(body)}")


IMPORTS = '''
import json, os, signal
from pathlib import Path

HERE = Path(__file__).parent

def times(what):
    """How often it was called, over all processes, this time included."""
    with open(HERE / what, "a") as file:
        file.write("x")
    return len((HERE / what).read_text())

def killed():
    os.kill(os.getpid(), signal.SIGKILL)
'''
