"""Keys of config.yaml whose work is not there yet: said plainly, never ignored. Pure."""

from __future__ import annotations

from etl_cli.runtime.config.model import Config


def refused(config: Config) -> list[str]:
    """Keys that would change which rows arrive: a run with them is refused."""
    found = []
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
    retries = config.error_handling.model_fields_set - {"on_shard_failure"}
    idle += sorted(f"error_handling.{key}" for key in retries)
    if idle:
        found.append(f"these keys are kept, but nothing acts on them yet: {', '.join(dict.fromkeys(idle))}")
    return found


LATER = frozenset(
    {
        *("schedule", "timezone", "catchup", "jitter", "start_at", "end_at", "run_timeout", "stall_timeout"),
        *("params", "fail_fast", "history", "alerts", "health", "logging"),
    }
)
"""Keys of config.yaml that no code reads yet."""
