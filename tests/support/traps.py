"""Which rows of the table of traps have a test: each names them in its docstring, as "Trap 7" or "Traps 2 and 19"."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRAPS = 27
"""Rows of the table in CORRECTNESS.md."""

_NAMED = re.compile(r"\btraps? ((?:\d+(?:, | and |, and )?)+)", re.IGNORECASE)


def named_in(docstring: str | None) -> set[int]:
    """The traps that a docstring names."""
    return {int(number) for listed in _NAMED.findall(docstring or "") for number in re.findall(r"\d+", listed)}


def coverage(docstrings: Iterable[str | None]) -> str:
    """One line: how many rows are covered, and which are not."""
    covered = set().union(*(named_in(docstring) for docstring in docstrings)) & set(range(1, TRAPS + 1))
    missing = sorted(set(range(1, TRAPS + 1)) - covered)
    told = f"; without a test: {', '.join(map(str, missing))}" if missing else ""
    return f"traps: {len(covered)} of {TRAPS} rows have a test that names them{told}"
