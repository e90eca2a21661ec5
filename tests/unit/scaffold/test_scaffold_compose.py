"""No Docker engine runs where this is developed: both compose files are held to their schema instead."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from etl_cli.runtime.config.interpolate import interpolate

REPOSITORY = Path(__file__).parents[3]
SCHEMA = json.loads((Path(__file__).parent / "compose.schema.json").read_text())
FILES = ["docker-compose-source.yml", "docker-compose-sink.yml"]


def compose(name: str) -> dict[str, Any]:
    content = yaml.safe_load((REPOSITORY / name).read_text())
    assert isinstance(content, dict)
    return content


def ports(content: dict[str, Any], environment: dict[str, str]) -> list[str]:
    services = content["services"].values()
    return [interpolate(port, environment) for service in services for port in service.get("ports", [])]


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_holds_to_the_specification(name: str) -> None:
    jsonschema.validate(compose(name), SCHEMA, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "mistake",
    [
        {"image": "postgres"},
        {"image": "postgres:17", "port": ["127.0.0.1:1:1"]},
        {"image": "postgres:17", "ports": ["5432:5432"]},
        {"image": "postgres:17", "healthcheck": {"interval": "5s"}},
        {"image": "postgres:17", "restart": False},
        {"image": "postgres:17", "environment": {"ACCEPT_EULA": True}},
    ],
)
def test_the_schema_finds_what_compose_would_refuse_or_would_open_to_the_network(mistake: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "services": {"x": mistake}}, SCHEMA, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", FILES)
def test_every_name_that_a_compose_file_uses_is_defined_there(name: str) -> None:
    content = compose(name)
    for service in content["services"].values():
        assert set(service.get("depends_on", {})) <= set(content["services"])
        named = {volume.split(":")[0] for volume in service["volumes"]} - {"."}
        assert named <= set(content["volumes"])


def test_four_shards_listen_on_1433_to_1436_of_this_host_alone() -> None:
    assert ports(compose(FILES[0]), {}) == [f"127.0.0.1:{port}:1433" for port in (1433, 1434, 1435, 1436)]
    assert ports(compose(FILES[0]), {"SHARD2_PORT": "21434"})[1] == "127.0.0.1:21434:1433"
    assert ports(compose(FILES[1]), {}) == ["127.0.0.1:5432:5432"]


def test_the_shards_are_real_sql_servers_with_the_password_of_a_generated_env() -> None:
    services = compose(FILES[0])["services"]
    for shard in ("shard1", "shard2", "shard3", "shard4"):
        service = services[shard]
        assert service["image"] == "mcr.microsoft.com/mssql/server:2022-latest"
        assert service["environment"]["ACCEPT_EULA"] == "Y"
        assert interpolate(service["environment"]["MSSQL_SA_PASSWORD"], {}) == "YourStrong@Passw0rd"
        assert "/opt/mssql-tools18/bin/sqlcmd -C" in service["healthcheck"]["test"][1]
        assert service["volumes"] == [f"{shard}:/var/opt/mssql"]


def test_the_seeding_waits_for_all_shards_and_names_each() -> None:
    seed = compose(FILES[0])["services"]["seed"]
    assert seed["depends_on"] == {f"shard{n}": {"condition": "service_healthy"} for n in (1, 2, 3, 4)}
    script = seed["command"][-1]
    source = re.search(r"etl-cli sandbox seed --source (\S+)", script)
    assert source is not None
    assert source[1].split(",") == [f"shard{n}:1433" for n in (1, 2, 3, 4)]


def test_the_sink_has_the_users_and_the_database_of_a_generated_env() -> None:
    sink = compose(FILES[1])["services"]["sink"]
    assert sink["image"] == "postgres:17"
    values = {key: interpolate(value, {}) for key, value in sink["environment"].items()}
    assert values == {"POSTGRES_USER": "etl_user", "POSTGRES_PASSWORD": "etl_password", "POSTGRES_DB": "sinkdb"}
    assert "pg_isready" in sink["healthcheck"]["test"][1]


@pytest.mark.parametrize("name", FILES)
def test_no_password_stands_in_a_command_line(name: str) -> None:
    for service in compose(name)["services"].values():
        commands = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        assert not any(re.search(r"\s-P\s|--password", command) for command in commands)
