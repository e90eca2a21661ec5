"""examples/maths: a graph of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.examples import Example


def steps(sink: SinkDatabase, what: str) -> dict[str, Any]:
    """Of the last run, by name."""
    return dict(rows_of(sink, f"SELECT step, {what} FROM etl.steps WHERE run_id = (SELECT max(run_id) FROM etl.runs)"))


def test_results_are_handed_on(sink: SinkDatabase, example: Callable[..., Example]) -> None:
    maths = example("maths")
    maths.is_ready()
    maths.runs()
    results = steps(sink, "result")
    assert abs(results.pop("pi") - math.pi) <= 0.05
    assert results == {
        "numbers": list(range(1, 11)),
        "total": 55,
        "cubes": 3025,
        "nicomachus": {"sum": 55, "cubes": 3025},
        "half": None,
    }
    assert steps(sink, "state") == {**dict.fromkeys(results, "succeeded"), "pi": "succeeded", "half": "skipped"}
    began, ended = steps(sink, "began_at"), steps(sink, "ended_at")
    assert ended["numbers"] <= min(began["total"], began["cubes"])
    assert max(ended["total"], ended["cubes"]) <= began["nicomachus"]


def test_a_parameter_of_the_run_changes_what_is_skipped(sink: SinkDatabase, example: Callable[..., Example]) -> None:
    example("maths").runs("--param", "upto=3")
    results = steps(sink, "result")
    assert (results["total"], results["cubes"], results["half"]) == (6, 36, 3)
    assert steps(sink, "state")["half"] == "succeeded"


def test_a_parameter_that_does_not_fit_is_refused_before_anything_runs(
    sink: SinkDatabase, example: Callable[..., Example]
) -> None:
    done = example("maths").etl("run", "--param", "upto=many")
    assert (done.code, "parameter upto: Input should be a valid integer" in done.err) == (1, True), done.err
    assert rows_of(sink, "SELECT count(*) FROM etl.steps WHERE tries > 0") == [(0,)]


def test_a_step_is_tried_again_and_then_fails_the_run(sink: SinkDatabase, example: Callable[..., Example]) -> None:
    maths = example("maths")
    maths.patch("retries=12", "retries=2")
    done = maths.etl("run", "--param", "tolerance=-1")
    assert (done.code, "is not near enough to pi (etl.py, line" in done.err) == (1, True), done.err
    assert done.out.count("another try in 0.1 s") == 2
    assert (steps(sink, "tries")["pi"], steps(sink, "state")["pi"]) == (3, "failed")
