"""What etl.py gives back to be kept in the ledger."""

from __future__ import annotations

import json
import re
from typing import Any

from etl_cli.runtime.errors import PlanError

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON writes it; an even number of backslashes before it are letters of the text."""


def refuse_what_json_cannot_hold(value: Any, told: str, remedy: str) -> None:
    """Raise PlanError where the ledger could not keep a value; `told` says whose it is.

    Of what Python writes as JSON, Postgres takes no NaN or infinity, no NUL, and no half of a surrogate pair.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
        if _NUL.search(text):
            raise ValueError("a text with a NUL character")
    except (TypeError, ValueError) as error:
        raise PlanError(f"{told} what JSON cannot hold: {error}", remedy) from None
