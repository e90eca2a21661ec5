"""config.yaml and .env, read, interpolated and validated: `load_config` is the one door."""

from etl_cli.runtime.config.databases import ShardConfig, SinkConfig, SourceConfig
from etl_cli.runtime.config.load import load_config
from etl_cli.runtime.config.model import Config
from etl_cli.runtime.config.tables import TableConfig

__all__ = ["Config", "ShardConfig", "SinkConfig", "SourceConfig", "TableConfig", "load_config"]
