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
    idle = sorted(key for key in LATER & config.model_fields_set if key != "schedule")
    idle += sorted(f"parallelism.{key}" for key in {"steps"} & config.parallelism.model_fields_set)
    for table in config.tables:
        idle += sorted(f"{table.source}.{key}" for key in LATER_OF_TABLE & table.model_fields_set)
    if idle:
        found.append(f"these keys are kept, but nothing acts on them yet: {', '.join(dict.fromkeys(idle))}")
    return found


LATER = frozenset(
    {
        *("schedule", "timezone", "catchup", "overlap", "jitter", "start_at", "end_at", "run_timeout"),
        *("stall_timeout", "resume_within", "max_resumptions", "error_handling", "params", "fail_fast"),
        *("history", "alerts", "health", "logging"),
    }
)
"""Keys of config.yaml that no code reads yet."""

LATER_OF_TABLE = frozenset({"cursor", "lookback", "max_rejects"})
"""The same of a table, beside those whose other values are refused."""


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
