"""A program without a sink: own sources feed own writers, in any Python process."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from etl_cli.runtime import Pipeline
from etl_cli.runtime.config import load_config
from etl_cli.runtime.errors import ConfigError, EtlError
from etl_cli.runtime.outcome import RunFailedError
from etl_cli.runtime.own.alone import WITHOUT_LEDGER
from etl_cli.runtime.service.supervisor import serve


def test_a_pipeline_of_a_program_runs_without_a_ledger_and_says_so() -> None:
    pipeline, tries = Pipeline("library"), []
    kept: list[tuple[str, int, int]] = []

    @pipeline.extract("numbers", key="n", delay="1ms", fan_out={"a": 0, "b": 10})
    def numbers(position: int | None, member: int, run: object) -> object:
        tries.append((member, position))
        for n in range(position or 0, 3):
            if (member, n, len(tries)) == (0, 1, 1):
                raise RuntimeError("no answer")
            yield [{"n": member + n}], n + 1

    @pipeline.map("numbers", columns={"square": "bigint"})
    def square(row: dict[str, int]) -> dict[str, int] | None:
        return {**row, "square": row["n"] ** 2} if row["n"] != 2 else None

    @pipeline.load("numbers")
    def keep(batch: object, member: str) -> None:
        kept.extend((member, row["n"], row["square"]) for row in batch.to_pylist())  # type: ignore[attr-defined]

    @pipeline.step
    def told(numbers: dict[str, int], factor: int = 1) -> int:
        assert (numbers, factor) == ({"rows": 5, "members": 2}, 3)
        return 1

    outcome = pipeline.run(params={"factor": 3})
    assert kept == [("a", 0, 0), ("a", 1, 1), ("b", 10, 100), ("b", 11, 121), ("b", 12, 144)]
    assert tries == [(0, None), (0, 1), (10, None)]
    assert (outcome.state, outcome.run_id, outcome.notes) == ("succeeded", None, [WITHOUT_LEDGER])
    assert (outcome.totals.rows_read, outcome.totals.rows_loaded) == (6, 5)


def test_without_a_sink_what_needs_one_is_refused(tmp_path: Path) -> None:
    pipeline = Pipeline("library")

    @pipeline.extract("numbers", key="n")
    def numbers() -> object:
        yield {"n": 1}

    with pytest.raises(ConfigError, match="the rows of numbers go nowhere"):
        pipeline.run()
    (tmp_path / "config.yaml").write_text("name: alone\nid: '00000001'\ntables: [{source: dbo.orders}]\n")
    with pytest.raises(ConfigError, match="tables are read from `source`, which is missing"):
        load_config(tmp_path)
    (tmp_path / "config.yaml").write_text("name: alone\nid: '00000001'\n")
    assert serve(tmp_path) == 2


def test_a_source_that_does_not_answer_ends_the_run() -> None:
    pipeline, tries = Pipeline("library"), []

    @pipeline.extract("numbers", key="n", delay="1ms", attempts=3)
    def numbers() -> object:
        tries.append(1)
        if tries:
            raise RuntimeError("no answer")
        yield {}

    @pipeline.load("numbers")
    def keep(batch: object) -> None:
        """Never called."""

    @pipeline.step(after=["numbers"])  # type: ignore[untyped-decorator]
    def after() -> None:
        """Never called."""

    with pytest.raises(EtlError, match="numbers: read failed: RuntimeError: no answer"):
        pipeline.run()
    assert len(tries) == 3


def test_bad_rows_failing_members_and_steps_are_treated_as_with_a_ledger() -> None:
    pipeline, called = Pipeline("library"), []
    kept: list[int] = []

    class Number(BaseModel):
        n: int

    @pipeline.extract(
        "numbers", model=Number, mode="append", fan_out=["a", "b", "c"], attempts=1, on_bad_row="reject", max_rejects=1
    )
    def numbers(member: str, bad: int) -> object:
        if member == "b":
            raise RuntimeError("b is away")
        yield [{"n": "x"}] * bad + [{"n": 1}]

    @pipeline.load("numbers")
    def keep(batch: object) -> None:
        kept.extend(batch.column("n").to_pylist())  # type: ignore[attr-defined]

    @pipeline.step(retries=2, retry_delay="1ms")  # type: ignore[untyped-decorator]
    def shaky() -> int:
        called.append(1)
        if len(called) < 3:
            raise RuntimeError("not yet")
        return 1

    with pytest.raises(RunFailedError, match="b is away") as failed:
        pipeline.run(params={"bad": 1}, steps=["numbers"])
    assert kept == [1, 1]
    assert (failed.value.outcome.totals.rows_read, failed.value.outcome.totals.rows_loaded) == (4, 2)
    assert sum("does not fit the model" in note for note in failed.value.outcome.notes) == 2
    with pytest.raises(RunFailedError, match="2 bad rows, max_rejects is 1"):
        pipeline.run(params={"bad": 2}, steps=["numbers"], members=["c"])
    assert kept == [1, 1]
    assert pipeline.run(params={"bad": 0}, steps=["shaky"]).state == "succeeded"
    assert len(called) == 3


def test_a_try_without_a_sink_goes_back_to_the_last_position() -> None:
    pipeline = Pipeline("library")
    failed: list[int] = []
    written: list[int] = []

    @pipeline.extract(
        "numbers", mode="append", columns={"n": "bigint"}, on_bad_row="reject", max_rejects=1, delay="1ms"
    )
    def numbers(position: int | None) -> object:
        if not position:
            yield [{"n": 1}], 1
        yield [{"n": 2}, {"n": "bad"}]
        if not failed:
            failed.append(1)
            raise RuntimeError("no answer")
        yield [{"n": 3}], 3

    @pipeline.load("numbers")
    def keep(batch: object, last: int | None) -> int:
        del written[last or 0 :]
        written.extend(batch.column("n").to_pylist())  # type: ignore[attr-defined]
        return len(written)

    outcome = pipeline.run()
    assert written == [1, 2, 3]
    assert (outcome.totals.rows_read, outcome.totals.rows_loaded) == (4, 3)
    assert sum("left out" in note for note in outcome.notes) == 1


def test_a_skipped_step_hands_nothing_on() -> None:
    pipeline = Pipeline("library")
    given: list[str] = []

    @pipeline.step(when=lambda: False)  # type: ignore[untyped-decorator]
    def one() -> str:
        return "done"

    @pipeline.step
    def two(one: str = "default") -> None:
        given.append(one)

    assert pipeline.run().state == "succeeded"
    assert given == ["default"]
