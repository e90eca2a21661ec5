"""Named SQL files beside this module."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def query(name: str) -> str:
    """The text of sql/<name>.sql."""
    return resources.files("etl_cli.runtime.sink").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
