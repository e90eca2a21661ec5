"""Postgres types as etl.py names them, in the spelling of `format_type`."""

from __future__ import annotations

import re

_ALIASES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "float4": "real",
    "float": "double precision",
    "float8": "double precision",
    "double": "double precision",
    "varchar": "text",
    "string": "text",
    "json": "jsonb",
    "bytes": "bytea",
    "timestamp": "timestamp(6) without time zone",
    "timestamp without time zone": "timestamp(6) without time zone",
    "timestamptz": "timestamp(6) with time zone",
    "timestamp with time zone": "timestamp(6) with time zone",
    "time": "time(6) without time zone",
    "time without time zone": "time(6) without time zone",
}
_KNOWN = frozenset(
    ["smallint", "integer", "bigint", "boolean", "real", "double precision", "text", "jsonb", "bytea", "uuid", "date"]
)
_NUMERIC = re.compile(r"(?:numeric|decimal)\((\d+)(?:,(\d+))?\)")
_TIME = re.compile(r"(timestamp|time)\(\d\) (with|without) time zone")
_MOST_DIGITS = 38


def canonical_type(name: str) -> str:
    """`timestamptz` as `timestamp(6) with time zone`, and so on. Raises ValueError for one that rows cannot have."""
    text = " ".join(name.lower().split())
    text = _ALIASES.get(text, text)
    if text in _KNOWN or text in _ALIASES.values():
        return text
    time = _TIME.fullmatch(text)
    if time and (time[1], time[2]) != ("time", "with"):
        return f"{time[1]}(6) {time[2]} time zone"
    number = _NUMERIC.fullmatch(text.replace(" ", ""))
    if number and 0 < int(number[1]) <= _MOST_DIGITS and int(number[2] or 0) <= int(number[1]):
        return f"numeric({number[1]},{number[2] or 0})"
    raise ValueError(
        f"{name!r} is not a type that a row's column can have; use e.g. text, bigint, numeric(18,2), double precision, "
        "boolean, date, timestamptz, uuid, jsonb, bytea"
    )
