"""The part of a scan that a stream reads: kept in the ledger, and the same when it comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.window import ALL_ROWS, Window

places = st.lists(st.text(max_size=20), max_size=4).map(tuple)
versions = st.none() | st.integers(0, 2**63 - 1)
values = st.none() | st.text(max_size=30)


def through_json(window: Window) -> Window:
    """As the ledger keeps it, and back."""
    return Window.of_json(json.loads(json.dumps(window.as_json())))


@given(places, places, values, values, versions, versions)
def test_a_window_comes_back_from_the_ledger_as_it_was(
    after: tuple[str, ...],
    up_to: tuple[str, ...],
    floor: str | None,
    bound: str | None,
    since: int | None,
    version: int | None,
) -> None:
    window = Window(after, up_to, floor, bound, since, version)
    assert through_json(window) == window


def test_what_is_not_set_is_left_out() -> None:
    assert ALL_ROWS.as_json() == {}
    assert Window(after=("1",), bound="9").as_json() == {"after": ("1",), "bound": "9"}


@pytest.mark.parametrize("window", [Window(since=0, version=0), Window(floor="", bound=""), Window(after=("",))])
def test_a_bound_of_nothing_or_zero_is_a_bound(window: Window) -> None:
    assert through_json(window) == window
    assert window.as_json() != {}


def test_a_window_that_is_not_set_holds_all_rows() -> None:
    assert Window.of_json({}) == ALL_ROWS == Window()
