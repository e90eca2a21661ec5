"""What etl.py gives back to be kept in the ledger."""

from __future__ import annotations

import json
from typing import Any

from etl_cli.runtime.errors import PlanError


def refuse_what_json_cannot_hold(value: Any, told: str, remedy: str) -> None:
    """Raise PlanError where the ledger could not keep a value; `told` says whose it is."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{told} what JSON cannot hold: {error}", remedy) from None
