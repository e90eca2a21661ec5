"""The JSON Schema of config.yaml, by which editors complete and mark errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from etl_cli.runtime.config.keys import json_schema, keys_of
from etl_cli.scaffold import Answers, generate
from etl_cli.scaffold.wheel import Wheel
from tests.support.plans import config_data


def problems(data: Any) -> list[str]:
    """What an editor would mark."""
    validator = jsonschema.Draft202012Validator(json.loads(json_schema()))
    return [error.message for error in validator.iter_errors(data)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema()))


@pytest.mark.parametrize("tables", [(), ("dbo.orders", "sales.*", "dbo.order lines")])
def test_a_generated_configuration_is_valid(tmp_path: Path, tables: tuple[str, ...]) -> None:
    generate(Answers("orders", tables), tmp_path, wheel=Wheel("etl_cli-0.1.0-py3-none-any.whl", b""))
    text = (tmp_path / "pipelines" / "orders" / "config.yaml").read_text()
    assert problems(yaml.safe_load(text)) == []


def test_references_may_stand_for_numbers_and_truth_values() -> None:
    data = config_data(fail_fast="${FAST}", max_resumptions="${N:-5}", history={"keep": "90d"})
    assert problems(data) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scedule": "@daily"}, "Additional properties are not allowed ('scedule' was unexpected)"),
        ({"catchup": "some"}, "'some' is not valid under any of the given schemas"),
        ({"name": "Orders!"}, "'Orders!' does not match"),
        ({"tables": [{"mode": "replace"}]}, "'source' is a required property"),
    ],
)
def test_an_error_is_marked(change: dict[str, Any], message: str) -> None:
    assert any(message in text for text in problems({**config_data(), **change}))


def test_one_name_may_stand_for_a_list_of_one() -> None:
    assert problems(config_data([{"source": "dbo.orders", "key": "id", "columns": "id"}])) == []


def test_types_are_a_column_each_with_one_of_the_requests() -> None:
    types = {"code": "varchar", "at": "offset", "place": "postgis", "v": "${VECTORS:-vector}"}
    assert problems(config_data([{"source": "dbo.orders", "types": types}], defaults={"types": types})) == []
    assert problems(config_data([{"source": "dbo.orders", "types": {"code": "citext"}}])) != []
    assert "types" in keys_of(("tables", 0))
    assert "types" in keys_of(("defaults",))


def test_a_reference_may_stand_for_a_choice() -> None:
    assert problems(config_data(logging={"level": "${LOG_LEVEL:-INFO}"})) == []


def test_the_known_keys_of_each_place_are_those_of_the_schema() -> None:
    assert "tables" in keys_of(())
    assert "schema" in keys_of(("sink",))
    assert "port" in keys_of(("source", "shards", 0))
    assert "validate" in keys_of(("tables", 3))
    assert "full" in keys_of(("schedule", 0))
    assert keys_of(("params", "anything")) == keys_of(("nothing",)) == []
