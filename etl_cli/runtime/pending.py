"""Keys of config.yaml whose work is not there yet: said plainly, never ignored. Pure."""

from __future__ import annotations

from etl_cli.runtime.config.model import Config, TableConfig


def refused(config: Config) -> list[str]:
    """Keys that would change which rows arrive: a run with them is refused."""
    found = [f"{table.source}: {text}" for table in config.tables for text in _refused_of(table)]
    if config.parallelism.streams_per_shard > 1:
        found.append("parallelism.streams_per_shard: more than one stream a shard is not there yet: use 1")
    if config.source.max_rows_per_s is not None:
        found.append("source.max_rows_per_s: the limit is not there yet: use null")
    if config.error_handling.on_shard_failure == "continue":
        found.append("error_handling.on_shard_failure: continue is not there yet: use fail")
    if config.engine != "local":
        found.append(f"engine: {config.engine} is not there yet: use local")
    return found


def waiting(config: Config) -> list[str]:
    """Keys that are valid and kept, but that nothing acts on yet."""
    found = []
    if config.schedule is not None:
        found.append("schedule: is kept, but nothing runs it yet: run by hand, or by cron with `etl-cli run`")
    if config.alerts.urls:
        found.append("alerts: are kept, but none is sent yet")
    if config.health.listen:
        found.append("health.listen: is kept, but nothing listens yet")
    if config.params:
        found.append("params: are kept, but nothing reads them yet")
    return found


def _refused_of(table: TableConfig) -> list[str]:
    later = {
        f"mode: {table.mode} is not there yet: use replace": table.mode != "replace",
        f"schema: {table.schema_} is not there yet: use evolve": table.schema_ != "evolve",
        "validate: checksums is not there yet: use counts": table.validate_ == "checksums",
        "on_bad_row: reject is not there yet: use fail": table.on_bad_row == "reject",
        "soft_delete is not there yet: use false": table.soft_delete,
        "track_changes is not there yet: use false": table.track_changes,
        "lineage is not there yet: use false": table.lineage,
    }
    return [text for text, used in later.items() if used]
