"""An etl.py for a test."""

from __future__ import annotations

from textwrap import dedent

from tests.support.pipeline import PipelineDirectory


def program(directory: PipelineDirectory, body: str) -> PipelineDirectory:
    """Write an etl.py whose own lines are these, from its fourth line on."""
    head = "from etl_cli.runtime import Pipeline\n\npipeline = Pipeline.load(__file__)\n"
    (directory.path / "etl.py").write_text(head + dedent(body).rstrip("\n") + "\n")
    return directory


def assert_told_in_a_line(directory: PipelineDirectory, wanted: str) -> None:
    """A run fails, and its errors say so without a traceback."""
    done = directory.cli("run")
    assert done.code in (1, 2), done.out
    assert wanted in done.err
    assert "Traceback" not in done.err
