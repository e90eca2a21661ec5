"""How a run looks: as lines, as a live table, at its end, and as data."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from etl_cli.runtime.display.figures import count, duration, megabytes, rate
from etl_cli.runtime.display.lines import LineDisplay
from etl_cli.runtime.display.live import LiveDisplay
from etl_cli.runtime.display.summary import as_json, print_summary
from etl_cli.runtime.errors import DataError
from etl_cli.runtime.ledger.ledger import RunTotals
from etl_cli.runtime.outcome import Outcome, TableOutcome
from etl_cli.runtime.progress import Moved, Progress, TaskProgress, TaskState
from etl_cli.runtime.sink.publish import Published
from tests.support.plans import table_plan


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# figures


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (count(None), "-"),
        (count(0), "0"),
        (count(1234567), "1,234,567"),
        (rate(12), "12/s"),
        (rate(9_999), "9,999/s"),
        (rate(10_000), "10 k/s"),
        (rate(999_499), "999 k/s"),
        (rate(999_500), "1.00 M/s"),
        (rate(1_234_567), "1.23 M/s"),
        (megabytes(12_345_678), "12.3 MB"),
        (duration(None), "-"),
        (duration(3.44), "3.4 s"),
        (duration(60), "1:00"),
        (duration(125), "2:05"),
        (duration(3599.7), "1:00:00"),
        (duration(3723), "1:02:03"),
    ],
)
def test_numbers_are_shown_as_people_read_them(shown: str, text: str) -> None:
    assert shown == text


def test_a_duration_is_never_sixty_seconds() -> None:
    assert duration(59.96) == "1:00"


# lines


def line_display(progress: Progress, interval_s: float = 10.0) -> io.StringIO:
    """What a LineDisplay prints of the progress."""
    stream = io.StringIO()
    progress.listen = LineDisplay(stream, interval_s)
    return stream


def test_lines_tell_each_phase_and_each_finished_task_once() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    stream = line_display(progress)
    progress.enter("copying")
    progress.add([TaskProgress("dbo.orders", "shard1", 4000)])
    progress.state("dbo.orders", "shard1", "running")
    clock.now += 2
    progress.moved("dbo.orders", "shard1", Moved(rows_read=4000, bytes=10))
    progress.state("dbo.orders", "shard1", "loaded")
    progress.enter("making visible")
    progress.state("dbo.orders", "shard1", "applied")
    assert stream.getvalue().splitlines() == [
        "copying",
        "dbo.orders shard1: loaded, 4,000 rows in 2.0 s, 2,000/s",
        "making visible",
    ]


def test_lines_tell_the_sums_at_intervals() -> None:
    clock = Clock()
    progress = Progress(clock=clock)
    stream = line_display(progress)
    progress.enter("copying")
    progress.add([TaskProgress("dbo.orders", f"shard{n}", 4000) for n in (1, 2)])
    for shard in ("shard1", "shard2"):
        progress.state("dbo.orders", shard, "running")
    clock.now += 9.9
    progress.moved("dbo.orders", "shard1", Moved(rows_read=1000, bytes=2_500_000, read_s=5))
    assert len(stream.getvalue().splitlines()) == 1
    clock.now += 0.1
    progress.moved("dbo.orders", "shard2", Moved(rows_read=1000, bytes=2_500_000, read_s=5))
    progress.moved("dbo.orders", "shard2", Moved(rows_read=1500, bytes=2_500_000, read_s=5))
    assert stream.getvalue().splitlines()[1:] == [
        "2,000 rows, 5.0 MB, 200/s, 25% done, waits for the source, 0 of 2 tasks loaded"
    ]


def test_lines_tell_a_failed_task() -> None:
    progress = Progress(clock=Clock())
    stream = line_display(progress)
    progress.add([TaskProgress("dbo.orders", "shard1", None)])
    progress.state("dbo.orders", "shard1", "failed")
    assert "dbo.orders shard1: failed, 0 rows in 0.0 s, 0/s" in stream.getvalue()


def test_lines_tell_no_share_where_a_total_is_unknown() -> None:
    progress = Progress(clock=Clock())
    stream = line_display(progress, interval_s=0)
    progress.add([TaskProgress("a", "shard1", 1000), TaskProgress("b", "shard1", None)])
    progress.state("b", "shard1", "running")
    progress.moved("b", "shard1", Moved(rows_read=1000))
    assert "100% done" not in stream.getvalue()


# the live table


def live(progress: Progress, *, width: int = 120, height: int = 12) -> str:
    """The live table as it stands, as text."""
    console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
    console.print(LiveDisplay(console, progress)._render())
    return console.export_text()


LOADED: list[TaskState] = ["loaded"] * 10


def many(*states: TaskState) -> Progress:
    progress = Progress(clock=Clock(), phase="copying")
    half = {0: Moved(rows_read=500, bytes=10**6, read_s=1)}
    progress.add(
        TaskProgress("dbo.orders", f"shard{n}", 1000, state, half, started=990.0) for n, state in enumerate(states, 1)
    )
    return progress


def test_the_live_table_shows_each_task_with_its_figures() -> None:
    text = live(many("running", "queued"))
    assert "copying" in text
    row = next(line for line in text.splitlines() if "shard1" in line)
    for figure in ("dbo.orders", "50%", "500", "50/s", "0.1", "10.0 s", "source"):
        assert figure in row


def test_the_live_table_before_any_task_shows_the_phase() -> None:
    assert "connecting" in live(Progress(phase="connecting", clock=Clock()))


def test_the_live_table_shows_those_at_work_where_not_all_fit() -> None:
    text = live(many(*LOADED, "running", "failed"), height=8)
    assert "shard11" in text
    assert "shard12" in text
    assert "... and 9 more" in text
    assert len(text.splitlines()) <= 8


def test_the_live_table_takes_names_literally() -> None:
    progress = Progress(clock=Clock())
    progress.add([TaskProgress("dbo.[red]x[/]", "shard1", None, "running")])
    assert "dbo.[red]x[/]" in live(progress)


def test_the_live_table_opens_and_closes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=20)
    with LiveDisplay(console, many("running")):
        pass


@pytest.mark.parametrize("height", [1, 2, 4, 5])
def test_the_live_table_lives_on_the_smallest_terminal(height: int) -> None:
    assert "shard1" in live(many("running", "running"), height=height)


# the end


def outcome(
    published: Published | None, *, error: DataError | None = None, target: str = "orders", notes: tuple[str, ...] = ()
) -> Outcome:
    progress = Progress(clock=Clock())
    moved = Moved(rows_read=4000, rows_loaded=4000, bytes=1_500_000, read_s=1, encode_s=0.5, load_s=0.25)
    state: TaskState = "applied" if published else "failed"
    progress.add([TaskProgress(f"dbo.{target}", "shard1", 4000, state, {0: moved}, started=990.0, ended=992.0)])
    plan = table_plan({"id": "integer"}, ["id"], target=target)
    return Outcome(
        run_id=7,
        state="failed" if error else "succeeded",
        totals=RunTotals(4000, 4000, 1_500_000),
        tables=[TableOutcome(plan.source, plan.target, plan.mode, published, list(notes))],
        progress=progress,
        seconds={"plan": 0.5, "copy": 1.5, "apply": 0.5},
        error=error,
    )


def summary(ended: Outcome) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    print_summary(console, ended)
    return console.export_text()


def test_the_summary_holds_each_task_each_table_and_the_sums() -> None:
    lines = summary(outcome(Published("swap", "why"), notes=("shard1: the source was written meanwhile",))).splitlines()
    task = next(line for line in lines if "shard1" in line)
    for figure in ("dbo.orders", "4,000", "2.0", "2,000/s", "1.5", "source", "applied"):
        assert figure in task
    assert "public.orders: replaced by swap" in lines
    assert "  note: shard1: the source was written meanwhile" in lines
    assert lines[-1] == ("run 7 succeeded: 4,000 rows, 1.5 MB, 2,000/s (plan 0.5 s, copy 1.5 s, make visible 0.5 s)")


@pytest.mark.parametrize(
    ("published", "line"),
    [
        (Published("create", "w"), "public.orders: created"),
        (
            Published("difference", "the target has row security", 1000, 2, 3),
            "public.orders: changed by difference (the target has row security): 1,000 inserted, 2 updated, 3 deleted",
        ),
        (None, "public.orders: unchanged"),
    ],
)
def test_the_summary_says_how_a_table_became_visible(published: Published | None, line: str) -> None:
    assert line in summary(outcome(published)).splitlines()


@pytest.mark.parametrize("target", ["order[s]", "a[/]b", "[bold]x"])
def test_the_summary_takes_names_literally(target: str) -> None:
    text = summary(outcome(Published("difference", f"is needed by {target}"), target=target))
    assert f"dbo.{target}" in text
    assert f"is needed by {target}" in text


def test_the_data_of_a_run_is_json_and_holds_its_error() -> None:
    data = json.loads(json.dumps(as_json(outcome(None, error=DataError("it broke", "mend it")))))
    assert (data["run"], data["state"], data["error"]) == (7, "failed", "it broke: mend it")
    assert data["tables"][0]["how"] is None
    assert data["tasks"][0] | {"table": "dbo.orders", "rows_loaded": 4000, "seconds": 2.0} == data["tasks"][0]


def test_the_data_of_a_run_holds_how_each_table_became_visible() -> None:
    data = as_json(outcome(Published("difference", "why", 1, 2, 3)))
    table = data["tables"][0]
    assert (table["how"], table["why"], table["inserted"], table["updated"], table["deleted"]) == (
        "difference",
        "why",
        1,
        2,
        3,
    )
