"""What an own source yields, and when that makes a batch."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.own.pages import Gathering, Page, page_of


class Item(BaseModel):
    id: int


TABLE = pa.table({"id": pa.chunked_array([[1], [2]])})


@pytest.mark.parametrize(
    ("item", "rows", "is_single"),
    [
        ({"id": 1}, [{"id": 1}], True),
        (Item(id=1), [{"id": 1}], True),
        ([{"id": 1}, Item(id=2)], [{"id": 1}, {"id": 2}], False),
        (({"id": n} for n in range(2)), [{"id": 0}, {"id": 1}], False),
        ([], [], False),
    ],
)
def test_a_yield_is_a_row_or_rows(item: Any, rows: list[Any], is_single: bool) -> None:
    assert page_of("s", item) == Page(rows, None, is_single)
    assert page_of("s", (rows, {"after": 5})) == Page(rows, {"after": 5}, False)


def test_a_yield_may_be_arrow() -> None:
    page = page_of("s", (TABLE, 7))
    assert isinstance(page.rows, pa.RecordBatch)
    assert (page.size, page.position, page.has_position) == (2, 7, True)
    assert page_of("s", TABLE.slice(0, 0)).size == 0


def test_no_position_is_none() -> None:
    assert not page_of("s", ([], None)).has_position
    assert page_of("s", ([], 0)).has_position


@pytest.mark.parametrize(
    "item", [5, "text", b"bytes", None, [5], [["id", 1]], [{1: "x"}], ([], 1, 2), ("text", 1), (5, None)]
)
def test_what_is_no_rows_is_told_in_a_line(item: Any) -> None:
    with pytest.raises(PlanError, match=r"^users of a: it yields .*: yield ") as told:
        page_of("users of a", item)
    assert "\n" not in str(told.value)


def added(gathering: Gathering, *items: Any) -> list[bool]:
    full = []
    for item in items:
        gathering.add(page_of("s", item))
        full.append(gathering.is_full)
    return full


def test_a_yield_of_many_rows_is_a_batch_and_single_rows_are_a_thousand() -> None:
    assert added(Gathering(None), [{"id": 1}]) == [True]
    assert added(Gathering(None), *({"id": n} for n in range(1000))) == [*[False] * 999, True]
    assert added(Gathering(None), {"id": 1}, [{"id": 2}]) == [False, True]


def test_so_many_pages_are_a_batch_or_as_many_as_hold_ten_thousand_rows() -> None:
    assert added(Gathering(3), [{"id": 1}], [], {"id": 2}) == [False, False, True]
    assert added(Gathering(3), [{"id": n} for n in range(6000)], [{"id": n} for n in range(6000)]) == [False, True]


def test_what_is_taken_has_neighbours_joined_and_the_last_page() -> None:
    gathering = Gathering(5)
    first = [{"id": 1}]
    added(gathering, (first, 1), ([{"id": 2}], 2), (TABLE, 3), ({"id": 3}, 4))
    pieces, last = gathering.take()
    assert [piece if isinstance(piece, list) else piece.num_rows for piece in pieces] == [
        [{"id": 1}, {"id": 2}],
        2,
        [{"id": 3}],
    ]
    assert last is not None
    assert last.position == 4
    assert first == [{"id": 1}], "a function's own list was changed"
    assert gathering.take() == ([], None)
