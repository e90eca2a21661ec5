"""What etl.py may give back, against what Postgres keeps."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.program.json_values import refuse_what_json_cannot_hold
from tests.support.database import SinkDatabase

_ASKED = "SELECT %s::jsonb"


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {"a": "x\0"}, {"\0": 1}, "\\\\\0", "\ud800"], ids=ascii
)
def test_what_postgres_does_not_keep_is_refused(sink: SinkDatabase, value: Any) -> None:
    with sink.open() as connection, pytest.raises(psycopg.Error):
        connection.execute(_ASKED, [json.dumps(value)])
    with pytest.raises(PlanError, match="it gives back what JSON cannot hold"):
        refuse_what_json_cannot_hold(value, "it gives back", "do not")


@pytest.mark.parametrize("value", [b"x", {1, 2}, {(1, 2): 3}], ids=repr)
def test_what_python_cannot_write_is_refused(value: Any) -> None:
    with pytest.raises(PlanError, match="it gives back what JSON cannot hold"):
        refuse_what_json_cannot_hold(value, "it gives back", "do not")


@pytest.mark.parametrize(
    "value", [None, 1, 1.5, "\\u0000", "\\\\u0000", "ä\n😀", {"a": [1, {"b": None}]}, True], ids=ascii
)
def test_what_postgres_keeps_is_not_refused(sink: SinkDatabase, value: Any) -> None:
    refuse_what_json_cannot_hold(value, "it gives back", "do not")
    with sink.open() as connection:
        row = connection.execute(_ASKED, [json.dumps(value)]).fetchone()
    assert row == (value,)
