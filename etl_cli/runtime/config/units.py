"""Durations and sizes as people write them: `5s`, `15m`, `1h30m`, `64MB`."""

from __future__ import annotations

import decimal
import math
import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `90s`, `1h30m` or a bare number (seconds).

    Raises ValueError for anything else, negative durations included.
    """
    return _parse(value, _SECONDS, "a duration such as 30s, 15m or 1h30m")


def parse_size(value: object) -> int:
    """Bytes of a size such as `64MB` or `8MiB`, or a bare number (bytes). Raises ValueError."""
    return int(_parse(value, _BYTES, "a size such as 64MB or 8MiB"))


def format_duration(seconds: float) -> str:
    """A duration in its largest whole unit: 900.0 -> `15m`."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{decimal.Decimal(repr(seconds)):f}s"


def _parse(value: object, units: dict[str, float] | dict[str, int], wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be {wanted}")
    number = _parse_text(value.strip(), units, wanted) if isinstance(value, str) else float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"must be {wanted}, neither negative nor without end")
    return number


def _parse_text(text: str, units: dict[str, float] | dict[str, int], wanted: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    known = all(unit.lower() in units for _, unit in parts)
    if not parts or not known or "".join(_PART.split(text)[0::3]).strip():
        raise ValueError(f"{text!r} is not {wanted}")
    return sum(float(number) * units[unit.lower()] for number, unit in parts)


_FOR_EDITORS = WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]})

Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration), _FOR_EDITORS]
"""Seconds."""

Size = Annotated[int, BeforeValidator(parse_size), _FOR_EDITORS]
"""Bytes."""
