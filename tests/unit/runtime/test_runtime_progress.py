"""What a run tells while it works, and the sums made of it."""

from __future__ import annotations

import pytest

from etl_cli.runtime.progress import Moved, Progress, TaskProgress


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def running(expected: int | None = 100, read: int = 0, started: float = 0.0) -> TaskProgress:
    return TaskProgress("dbo.orders", "shard1", expected, "running", {0: Moved(rows_read=read)}, started=started)


def test_a_task_that_has_not_begun_has_no_time_and_no_speed() -> None:
    task = TaskProgress("dbo.orders", "shard1", 100)
    assert (task.seconds(50), task.rows_per_s(50), task.share(), task.seconds_left(50)) == (0, 0, 0, None)


def test_speed_share_and_time_left_follow_from_rows_and_time() -> None:
    task = running(read=25)
    assert (task.seconds(5), task.rows_per_s(5), task.share(), task.seconds_left(5)) == (5, 5, 0.25, 15)


def test_what_is_not_known_is_not_guessed() -> None:
    task = running(expected=None, read=25)
    assert (task.share(), task.seconds_left(5)) == (None, None)
    assert running(expected=0).share() is None


def test_a_low_estimate_never_gives_more_than_the_whole_nor_a_negative_time() -> None:
    task = running(read=150)
    assert (task.share(), task.seconds_left(5)) == (1.0, 0.0)


def test_a_loaded_task_is_whole_whatever_was_expected() -> None:
    assert TaskProgress("t", "s", None, "loaded").share() == 1.0
    assert TaskProgress("t", "s", None, "applied").share() == 1.0


def test_a_tasks_time_stands_still_when_it_has_ended() -> None:
    clock, progress = Clock(), Progress()
    progress.clock = clock
    progress.add([TaskProgress("t", "s", 10)])
    progress.state("t", "s", "running")
    clock.now = 104.0
    progress.moved("t", "s", Moved(rows_read=10))
    progress.state("t", "s", "loaded")
    clock.now = 150.0
    progress.state("t", "s", "applied")
    task = progress.tasks["t", "s"]
    assert (task.seconds(200), task.rows_per_s(200), task.state) == (4, 2.5, "applied")


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_task_that_fails_ends_there(state: str) -> None:
    clock, progress = Clock(), Progress()
    progress.clock = clock
    progress.add([TaskProgress("t", "s", 10)])
    progress.state("t", "s", "running")
    clock.now = 101.0
    progress.state("t", "s", state)  # type: ignore[arg-type]
    assert progress.tasks["t", "s"].seconds(999) == 1


def test_each_change_is_told_to_the_listener() -> None:
    told: list[str] = []
    progress = Progress(listen=lambda p: told.append(f"{p.phase} {[t.state for t in p.tasks.values()]}"))
    progress.enter("copying")
    progress.add([TaskProgress("t", "s", None)])
    progress.expect("t", "s", 5)
    progress.moved("t", "s", Moved(rows_read=1))
    progress.state("t", "s", "running")
    assert told == ["copying []", *["copying ['queued']"] * 3, "copying ['running']"]
    assert progress.tasks["t", "s"].expected == 5


def test_a_task_of_several_streams_is_their_sum_and_each_tells_its_own_last_word() -> None:
    progress = Progress()
    progress.add([TaskProgress("t", "s", None)])
    for stream, rows in ((0, 5), (1, 7)):
        progress.expect("t", "s", rows, stream)
        progress.moved("t", "s", Moved(rows_read=1), stream)
        progress.moved("t", "s", Moved(rows_read=rows - 1, rows_updated=2), stream)
    task = progress.tasks["t", "s"]
    assert (task.expected, task.moved) == (12, Moved(rows_read=10, rows_updated=4))


def test_a_stream_that_counts_again_replaces_its_own_count_alone() -> None:
    progress = Progress()
    progress.add([TaskProgress("t", "s", 99)])
    for stream, rows in ((0, 5), (1, 7), (0, 6)):
        progress.expect("t", "s", rows, stream)
    assert progress.tasks["t", "s"].expected == 13


def test_what_moved_is_added_figure_by_figure() -> None:
    one = Moved(1, 2, 3, 0.5, 0.25, 0.125, 4, 5, 6, 7)
    assert one + one == Moved(2, 4, 6, 1.0, 0.5, 0.25, 8, 10, 12, 14)


def test_what_is_told_beside_the_plan_is_kept_and_heard() -> None:
    heard: list[list[str]] = []
    progress = Progress(listen=lambda p: heard.append([told.text for told in p.told]))
    progress.tell("another try in 1.0 s")
    progress.tell("run 3 is resumed")
    assert heard[-1] == ["another try in 1.0 s", "run 3 is resumed"]


@pytest.mark.parametrize(
    ("moved", "side"),
    [
        (Moved(read_s=3, encode_s=1, load_s=2), "source"),
        (Moved(read_s=1, encode_s=1, load_s=2), "sink"),
        (Moved(read_s=1, encode_s=3, load_s=2), "client"),
    ],
)
def test_the_slower_side_is_the_one_that_is_waited_for(moved: Moved, side: str) -> None:
    assert moved.slower_side == side
