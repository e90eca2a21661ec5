"""Waits for a condition, and not for a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import psycopg


def until(condition: Callable[[], Any], patience_s: float = 40, told: Callable[[], object] = lambda: "") -> None:
    """Return once the condition holds; a table, an endpoint or a key that is not there yet is no error.

    What `told` gives is shown where it never holds.
    """
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(psycopg.Error, OSError, LookupError):
            if condition():
                return
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)
