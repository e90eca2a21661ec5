from __future__ import annotations

import pytest

from etl_cli.runtime.errors import UsageError
from etl_cli.scaffold import Answers

ODD_NAMES = [
    "", " ", "Orders", "my_orders", "1orders", "-orders", "orders!", "a" * 41, "orders\n", "örders", "a b", ".",
    "..", "../orders", "a/b", "/etc/orders", "pipelines/orders", "orders/", "C:\\orders", "${HOME}", "a\x00b",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_one_clear_line_and_exit_code_2(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        Answers(name)
    assert raised.value.exit_code == 2
    assert "is not a pipeline name" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a", "orders", "my-orders", "o2", "a" * 40, "a-"])
def test_a_good_name_is_taken(name: str) -> None:
    assert Answers(name).name == name


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("My_Orders", "my-orders"), ("pipelines/orders", "orders"), ("a" * 50, "a" * 40), ("42", "orders")],
)
def test_the_error_suggests_a_name_that_would_do(name: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match=f"--name {suggestion}$"):
        Answers(name)
    assert Answers(suggestion).name == suggestion


@pytest.mark.parametrize(
    "table", ["", "orders", "dbo.", ".orders", "a.b.c", "dbo.x;y", "dbo.o\n", "[dbo].[x]", 'dbo."']
)
def test_an_odd_table_is_one_clear_line_and_exit_code_2(table: str) -> None:
    with pytest.raises(UsageError) as raised:
        Answers("orders", (table,))
    assert raised.value.exit_code == 2
    assert "write it as schema.table" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("table", ["dbo.orders", "dbo.*", "sales.Order Details", "dbo.größe", "dbo.a-b", "dbo.#x$"])
def test_what_sql_server_allows_as_a_name_is_taken(table: str) -> None:
    assert Answers("orders", (table,)).tables == (table,)


def test_a_table_given_twice_counts_once() -> None:
    assert Answers("orders", ("dbo.b", "dbo.a", "DBO.B")).tables == ("dbo.b", "dbo.a")


def test_each_pipeline_gets_an_id_of_its_own() -> None:
    ids = {Answers("orders").id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(own_id) == 8 and int(own_id, 16) >= 0 for own_id in ids)
