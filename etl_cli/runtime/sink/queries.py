"""Named SQL files beside this module."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString, cast


@cache
def query(name: str) -> LiteralString:
    """The text of sql/<name>.sql."""
    text = resources.files("etl_cli.runtime.sink").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return cast("LiteralString", text)
