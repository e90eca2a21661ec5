"""What an etl.py hears of its runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.job import Watcher
from tests.support.copying import Make, rows_of
from tests.support.database import SinkDatabase
from tests.support.programs import program
from tests.support.reading import copied, first_job
from tests.support.source import Shards

LISTENING = """
    import dataclasses
    import json
    import os

    def write(event):
        line = json.dumps(dataclasses.asdict(event)) + "\\n"
        with open(pipeline.directory / "heard.jsonl", "a") as file:  # one write a line, from several processes
            file.write(line)

    for name in ("run_start", "run_end", "step_start", "step_end", "table_start", "table_end", "read", "write", "batch",
                 "retry", "error"):
        getattr(pipeline, f"on_{name}")(write)

    @pipeline.on_batch
    def broken(event):
        raise ValueError("my own fault")

    @pipeline.filter("dbo.orders")
    def odd(row):
        return row["id"] % 2

    @pipeline.step(after=["copy"])
    def then(run):
        {then}
"""


def heard(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "heard.jsonl").read_text().splitlines()]


def test_hooks_are_told_with_counts_and_durations(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1), (2), (3)"
    )
    directory = program(pipeline({"source": "dbo.orders"}), LISTENING.replace("{then}", "return 1"))
    outcome = directory.run()
    events = heard(directory.path)
    names = [event["name"] for event in events]
    assert (names[0], names[-1]) == ("on_run_start", "on_run_end")
    assert [names.count(f"on_{what}") for what in ("table_start", "table_end", "read", "write", "batch")] == [4] * 5
    assert [event["step"] for event in events if event["name"] == "on_step_end"] == ["copy", "then"]
    assert {event["rows"] for event in events if event["name"] == "on_read"} == {3}
    assert {event["rows"] for event in events if event["name"] in ("on_batch", "on_write", "on_table_end")} == {2}
    last = events[-1]
    assert (last["state"], last["rows"], last["error"], last["run_id"]) == ("succeeded", 8, None, 1)
    assert last["seconds"] > 0
    assert sum('on_batch "broken" failed: ValueError: my own fault' in t.text for t in outcome.progress.told) == 4


def test_hooks_hear_of_errors(shards: Shards, sink: SinkDatabase, pipeline: Make) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1)")
    directory = program(pipeline({"source": "dbo.orders"}), LISTENING.replace("{then}", "raise RuntimeError('no')"))
    with pytest.raises(EtlError, match="RuntimeError: no"):
        directory.run()
    errors = [event for event in heard(directory.path) if event["name"] == "on_error"]
    assert [(event["step"], "RuntimeError: no" in event["error"]) for event in errors] == [("then", True)]
    assert heard(directory.path)[-1]["state"] == "failed"
    assert rows_of(sink, "SELECT state FROM etl.runs") == [("failed",)]


def test_a_hook_is_told_the_pipeline_however_its_sessions_are_named(
    shards: Shards, sink: SinkDatabase, pipeline: Make
) -> None:
    shards.execute("CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)", "INSERT INTO dbo.orders VALUES (1)")
    directory = pipeline({"source": "dbo.orders"})
    job = first_job(directory, "snapshot")
    program(directory, "@pipeline.on_batch\ndef told(event):\n    raise ValueError(f'of {event.pipeline}')\n")
    listener = Listener()
    copied(replace(job, program=directory.path, application="a name of two words"), listener)
    assert listener.heard == ['on_batch "told" failed: ValueError: of test']


class Listener(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def said(self, text: str) -> None:
        self.heard.append(text)
