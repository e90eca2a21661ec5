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
    idle = sorted(LATER & config.model_fields_set)
    if idle:
        found.append(f"these keys are kept, but nothing acts on them yet: {', '.join(dict.fromkeys(idle))}")
    return found


LATER = frozenset({"history"})
"""Keys of config.yaml that no code reads yet."""
