"""Shards that nobody connects to."""

from __future__ import annotations

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.source.connect import Shard


def shard_of(config: Config, number: int = 0) -> Shard:
    """A configured shard."""
    return Shard(config.source.shards[number], config.source, config.connection)
