"""Keys of config.yaml whose work is not there yet: said plainly, never ignored. Pure."""

from __future__ import annotations

from etl_cli.runtime.config.model import Config


def refused(config: Config) -> list[str]:
    """Keys that would change which rows arrive: a run with them is refused."""
    found = []
    if config.engine != "local":
        found.append(f"engine: {config.engine} is not there yet: use local")
    return found
