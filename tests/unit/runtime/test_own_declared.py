"""Declarations of own sources: what cannot be is one line, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.pipeline import Pipeline
from etl_cli.runtime.program.source_settings import writer_of
from etl_cli.runtime.program.sources import Retries, Source


def rows() -> Iterator[dict[str, int]]:
    yield {"id": 1}


class Item(BaseModel):
    at: int


def declared(function: Callable[..., Any] = rows, name: str = "items", **settings: Any) -> Source:
    pipeline = Pipeline(Path("/nowhere"))
    pipeline.extract(name, **{"key": ["id"], **settings})(function)
    return pipeline.declared.sources[name]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "no name"}, "not a name"),
        ({"function": lambda: [1]}, "does not yield anything"),
        ({"keys": ["id"]}, "keys is no setting: use allow_empty, at_once, attempts"),
        ({"mode": "merge"}, "mode 'merge' is not known: use replace, append, upsert, sync"),
        ({"key": []}, "mode upsert needs a key"),
        ({"mode": "sync", "key": ()}, "mode sync needs a key"),
        ({"soft_delete": True}, 'use mode="sync"'),
        ({"track_changes": True}, 'use mode="sync"'),
        ({"at_once": 0}, "at_once is 0: use a whole number from 1 on"),
        ({"at_once": None}, "at_once is None"),
        ({"batches": 1.5}, "batches is 1.5"),
        ({"pages": True}, "pages is True"),
        ({"max_rejects": -1}, "max_rejects is -1: use a whole number from 0 on"),
        ({"schema": "grow"}, "schema 'grow' is not known: use evolve, freeze, discard"),
        ({"on_bad_row": "skip"}, "on_bad_row 'skip' is not known: use fail, reject"),
        ({"nul_characters": "keep"}, "nul_characters 'keep' is not known"),
        ({"member_column": "account"}, "member_column goes with fan_out"),
        ({"member_column": "id", "fan_out": ["a"]}, "id is the member's column and in key"),
        ({"member_column": "of", "fan_out": ["a"], "columns": {"of": "text"}}, "the member's column"),
        ({"columns": {"total": "money"}}, "columns: total: 'money' is not a type"),
        ({"to_sink": False, "cursor": "at"}, "no target tells the type of its cursor at"),
        ({"delay": "soon"}, "soon"),
        ({"timeout": "never"}, "timeout"),
    ],
)
def test_a_declaration_that_cannot_be_is_told_in_a_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        declared(**settings)
    assert told in str(error.value)
    assert settings.get("name", "items") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "append", "key": ()},
        {"mode": "replace", "key": ()},
        {"to_sink": False, "key": ()},
        {"to_sink": False, "cursor": "at", "columns": {"at": "bigint"}},
        {"to_sink": False, "cursor": "at", "model": Item},
        {"key": "id", "columns": {"total": "decimal(18, 2)"}},
    ],
)
def test_a_declaration_that_can_be_is_taken(settings: dict[str, Any]) -> None:
    assert declared(**settings).name == "items"


def test_two_sources_have_two_names() -> None:
    pipeline = Pipeline(Path("/nowhere"))
    pipeline.extract("items", key=["id"])(rows)
    with pytest.raises(ConfigError, match="two steps are named items"):
        pipeline.extract("items", key=["id"])(rows)


@pytest.mark.parametrize(
    ("fan_out", "names"),
    [
        (None, [""]),
        (["a", "b"], ["a", "b"]),
        ([("acme", "github"), ["acme", "slack"]], ["acme/github", "acme/slack"]),
        ({"acme": {"token": 1}}, ["acme"]),
        ([1, 2], ["1", "2"]),
        (lambda: ["x"], ["x"]),
        ("accounts", ["of the step/1"]),
    ],
)
def test_members_have_names(fan_out: Any, names: list[str]) -> None:
    source = declared(fan_out=fan_out)
    assert list(source.members({"accounts": [["of the step", 1]]}, lambda _: {})) == names


@pytest.mark.parametrize(
    ("fan_out", "told"),
    [(["a", "a"], "names a member twice"), ([""], "no name"), (["a\nb"], "no name"), (["a" * 201], "no name")],
)
def test_members_without_a_name_of_their_own_are_told(fan_out: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        declared(fan_out=fan_out).members({}, lambda _: {})


@pytest.mark.parametrize("function", [lambda rows: None, lambda batch, page: None])
def test_a_writer_takes_what_it_is_given(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="it is given batch, last, part"):
        writer_of(function, "items")


def test_delays_grow_up_to_their_limit_until_the_tries_are_used_up() -> None:
    retries = Retries(attempts=6, delay_s=1, factor=3, limit_s=20)
    assert [retries.delay_after(failures) for failures in range(1, 8)] == [1, 3, 9, 20, 20, None, None]
    assert Retries(attempts=1).delay_after(1) is None
    assert Retries(attempts=10**6, factor=10.0).delay_after(10**5) == 60
