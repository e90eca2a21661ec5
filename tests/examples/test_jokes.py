"""examples/jokes: an HTTP API into a table, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support.copying import leftovers, rows_of
from tests.support.database import SinkDatabase
from tests.support.example_servers import module_of, serving
from tests.support.examples import Example, copied

JOKES = "SELECT id, text, rating, tags, updated_at FROM jokes ORDER BY id"


@pytest.fixture
def server() -> Any:
    return module_of("jokes", "server.py").serve()


@pytest.fixture
def api(server: Any) -> Iterator[str]:
    with serving(server) as address:
        yield address


@pytest.fixture
def jokes(tmp_path: Path, sink: SinkDatabase, api: str) -> Example:
    return copied("jokes", tmp_path, sink, JOKES_API=api)


def post(api: str, **joke: object) -> None:
    with urlopen(Request(f"{api}/jokes", json.dumps(joke).encode(), method="POST"), timeout=10) as answer:
        answer.read()


def test_a_run_brings_all_jokes_and_the_next_one_those_that_changed(
    jokes: Example, sink: SinkDatabase, api: str, server: Any
) -> None:
    checked = jokes.etl("check")
    assert checked.code == 0, checked.out + checked.err
    first = jokes.etl("run")
    assert first.code == 0, first.out + first.err
    assert "45 rows" in first.out
    rows = rows_of(sink, JOKES)
    assert [(row[0], row[1], row[3], row[4].isoformat()) for row in rows] == [
        (joke["id"], joke["text"], joke["tags"], joke["updated_at"]) for joke in server.jokes.values()
    ]

    post(api, id=3, text="the third, better")
    post(api, id=46, text="one more")
    second = jokes.etl("run")
    assert second.code == 0, second.out + second.err
    changed = [after for after in rows_of(sink, JOKES) if after not in rows]
    assert [(row[0], row[1]) for row in changed] == [(3, "the third, better"), (46, "one more")]
    assert "public.jokes: mode upsert: 1 inserted, 1 updated, 0 deleted" in second.out
    assert leftovers(sink) == []


def test_a_run_without_news_changes_nothing(jokes: Example, sink: SinkDatabase) -> None:
    assert jokes.etl("run").code == 0
    before = rows_of(sink, "SELECT xmin::text, id FROM jokes ORDER BY id")
    again = jokes.etl("run")
    assert again.code == 0, again.err
    assert rows_of(sink, "SELECT xmin::text, id FROM jokes ORDER BY id") == before


def test_an_api_that_is_away_is_told_in_a_line(tmp_path: Path, sink: SinkDatabase) -> None:
    example = copied("jokes", tmp_path, sink, JOKES_API="http://127.0.0.1:9")
    text = (example.path / "etl.py").read_text().replace('cursor="updated_at",', 'cursor="updated_at", attempts=2,')
    (example.path / "etl.py").write_text(text)
    done = example.etl("run")
    assert done.code == 1
    assert "jokes: read failed: URLError" in done.err
    assert "Traceback" not in done.err
