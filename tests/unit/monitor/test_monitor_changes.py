"""What is told when, over many looks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.monitor.changes import REASONS, Outcome, Remembered, after_telling, change, is_summary_due, summary
from etl_cli.monitor.memory import Memory, keep, recall
from etl_cli.runtime.alerts import Reason
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.health import STATES, State

NOW = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)


def told(states: Sequence[State], outcomes: Sequence[Outcome] = ()) -> list[Reason | None]:
    """What is tried to be told at each look; each is taken unless `outcomes` say otherwise."""
    before: Remembered | None = None
    reasons = []
    for number, state in enumerate(states):
        made = change(before, state, NOW + timedelta(minutes=number))
        reasons.append(made.reason)
        outcome: Outcome = outcomes[number] if number < len(outcomes) else "told"
        before = after_telling(made, outcome) if made.reason else made.after
    return reasons


@pytest.mark.parametrize(
    ("states", "reasons"),
    [
        (["ok", "dead", "dead", "ok", "ok"], [None, "dead", None, "recovery", None]),
        (["stalled", "running", "ok"], ["stalled", "recovery", None]),
        (["late", "dead", "late", "ok"], ["missed", "dead", "missed", "recovery"]),
        (["ok", "running", "failing", "ok", "stopped", "ok"], [None] * 6),
        (["dead", "stopped", "dead", "stopped", "ok"], ["dead", None, "dead", None, "recovery"]),
        (["dead", "failing", "failing", "ok"], ["dead", None, None, "recovery"]),
    ],
)
def test_changes_are_told_and_nothing_else(states: list[State], reasons: list[Reason | None]) -> None:
    assert told(states) == reasons


def test_what_was_refused_is_owed_until_it_is_taken_or_has_passed() -> None:
    assert told(["dead"] * 4, ["refused", "refused"]) == ["dead", "dead", "dead", None]
    assert told(["dead", "ok", "ok", "ok"], ["told", "refused"]) == ["dead", "recovery", "recovery", None]
    assert told(["dead", "ok"], ["refused"]) == ["dead", None], "nobody knew of it: its end is no news"
    assert told(["dead", "stalled", "stalled"], ["refused", "told"]) == ["dead", "stalled", None]


def test_the_end_of_what_nobody_wanted_to_know_is_no_news() -> None:
    assert told(["dead", "ok"], ["unwanted"]) == ["dead", None]
    assert told(["dead", "late", "ok"], ["told", "unwanted"]) == ["dead", "missed", "recovery"]


states: st.SearchStrategy[State] = st.sampled_from(STATES)


@given(st.lists(states, max_size=30))
def test_nothing_is_told_twice_without_a_change_and_a_recovery_only_after_an_illness(seen: list[State]) -> None:
    ill = False
    for number, reason in enumerate(told(seen)):
        state, before = seen[number], seen[number - 1] if number else None
        if reason == "recovery":
            assert ill
            assert state in ("ok", "running")
            ill = False
        elif reason:
            assert state != before
            assert REASONS[state] == reason
            ill = True
        else:
            assert state not in REASONS or state == before
            assert not (ill and state in ("ok", "running"))


def test_a_state_is_known_since_it_began() -> None:
    before = change(None, "ok", NOW).after
    later = NOW + timedelta(minutes=1)
    assert change(before, "ok", later).after.since == NOW
    assert change(before, "late", later).after.since == later


def test_a_summary_is_due_once_in_every_hour_of_the_clock() -> None:
    assert is_summary_due(None, NOW)
    assert not is_summary_due(NOW, NOW + timedelta(minutes=29))
    assert is_summary_due(NOW + timedelta(minutes=29), NOW + timedelta(minutes=30))


def test_a_summary_names_who_is_not_well() -> None:
    assert summary([("a", "ok"), ("b", "dead"), ("c", "ok"), ("d", "stopped")]) == (
        "4 pipelines: 2 ok, 1 stopped (d), 1 dead (b)"
    )
    assert summary([]) == "0 pipelines: none"


@given(
    st.dictionaries(
        st.text(max_size=9),
        st.builds(Remembered, states, st.datetimes(timezones=st.just(UTC)), told=st.booleans(), owed=st.booleans()),
        max_size=3,
    )
)
def test_what_is_kept_is_recalled(tmp_path_factory: pytest.TempPathFactory, pipelines: dict[str, Remembered]) -> None:
    directory = tmp_path_factory.mktemp("state")
    memory = Memory(pipelines, NOW)
    keep(directory, memory)
    assert recall(directory) == (memory, "")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pipelines": 3}', '{"pipelines": {"a": {}}, "summary_at": null}'])
def test_what_cannot_be_used_is_told_and_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / "states.json").write_text(text)
    memory, problem = recall(tmp_path)
    assert memory == Memory()
    assert "cannot be read" in problem


def test_what_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EtlError, match="cannot be written"):
        keep(tmp_path / "missing", Memory())
