"""A seeding script: batches apart by lines that say GO, as sqlcmd has them."""

from __future__ import annotations

import re

from etl_cli.sandbox.standin.handle import DatabaseHandle

_GO = re.compile(r"^\s*GO\s*;?\s*$", re.IGNORECASE | re.MULTILINE)


def batches(text: str) -> list[str]:
    """Return the batches that are not empty."""
    return [part for part in _GO.split(text) if part.strip()]


def run_script(database: DatabaseHandle, text: str) -> None:
    """Run all batches; SqlError at the first statement that fails."""
    for batch in batches(text):
        database.execute(batch)
