"""What a run is asked to do beside its configuration."""

from __future__ import annotations

from typing import Any

import pytest

from etl_cli.runtime.errors import UsageError
from etl_cli.runtime.request import EVERYTHING, Request
from tests.support.plans import config_of

PARTS: list[dict[str, Any]] = [{"tables": ["dbo.orders"]}, {"shards": ["shard1"]}, {"full": True}, {"where": "id > 5"}]


def test_nothing_said_is_the_whole_pipeline() -> None:
    assert not EVERYTHING.is_partial
    assert EVERYTHING.takes(("dbo", "anything"))
    EVERYTHING.refuse_contradictions()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_pipeline_is_a_part_and_is_never_resumed(part: dict[str, Any]) -> None:
    request = Request(**part)
    request.refuse_contradictions()
    assert request.is_partial
    with pytest.raises(UsageError, match="--resume goes on with a whole run") as caught:
        Request(resume=True, **part).refuse_contradictions()
    assert caught.value.exit_code == 2


def test_a_resumption_of_the_whole_is_none() -> None:
    request = Request(resume=True)
    request.refuse_contradictions()
    assert not request.is_partial


@pytest.mark.parametrize("asked", ["dbo.Orders", "ORDERS", "[dbo].[orders]", "server.DBO.orders"])
def test_a_table_is_asked_for_as_config_yaml_may_name_it(asked: str) -> None:
    request = Request(tables=[asked])
    assert request.takes(("dbo", "orders"))
    assert request.takes(("DBO", "Orders"))
    assert not request.takes(("sales", "orders"))
    assert not request.takes(("dbo", "order_lines"))


def test_several_tables_may_be_asked_for() -> None:
    request = Request(tables=["dbo.orders", "sales.[order.lines]"])
    taken = [("dbo", "orders"), ("sales", "order.lines"), ("dbo", "customers")]
    assert [request.takes(name) for name in taken] == [True, True, False]


def test_only_the_shards_that_are_asked_for_are_read_in_the_configurations_order() -> None:
    shards = [{"name": f"shard{n}", "host": "h"} for n in (1, 2, 3)]
    config = config_of("dbo.orders", source={"database": "d", "shards": shards})
    chosen = Request(shards=["shard3", "shard1"]).of_shards(config)
    assert [shard.name for shard in chosen.source.shards] == ["shard1", "shard3"]
    assert (chosen.tables, chosen.sink) == (config.tables, config.sink)
    assert len(config.source.shards) == 3, "the configuration itself stays"
    assert EVERYTHING.of_shards(config) is config


def test_an_unknown_shard_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no shard is named shard9, x") as caught:
        Request(shards=["shard1", "shard9", "x"]).of_shards(config_of())
    assert caught.value.remedy == "the shards are shard1, shard2"
