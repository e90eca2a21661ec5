"""Tells Postgres types from a pydantic class and from Python values."""

from __future__ import annotations

import datetime as dt
import types
import typing
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from etl_cli.runtime.program.types import canonical_type


def types_of_model(model: Any) -> dict[str, str]:
    """The columns of a pydantic class, as far as its annotations tell their types."""
    found = {}
    for name, info in getattr(model, "model_fields", {}).items():
        kind = _type_of_annotation(info.annotation, info.metadata)
        if kind is not None:
            found[name] = kind
    return found


def _type_of_annotation(annotation: Any, metadata: Sequence[Any]) -> str | None:
    arguments = [one for one in typing.get_args(annotation) if one is not type(None)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _type_of_annotation(arguments[0], metadata) if len(arguments) == 1 else None
    kind = typing.get_origin(annotation) or annotation
    if kind is Decimal:
        known = {name: value for one in metadata for name, value in vars(one).items() if value is not None}
        if "max_digits" in known:
            return canonical_type(f"numeric({known['max_digits']},{known.get('decimal_places', 0)})")
        return None
    if not isinstance(kind, type):
        return None
    if hasattr(kind, "model_fields"):
        return "jsonb"
    return _PYTHON_TYPES.get(kind)


_PYTHON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    str: "text",
    bytes: "bytea",
    dt.date: "date",
    dt.time: "time(6) without time zone",
    uuid.UUID: "uuid",
    dict: "jsonb",
    list: "jsonb",
}


def type_of_value(value: Any) -> str | None:
    """The type that holds a value; None where its class does not tell."""
    if isinstance(value, dt.datetime):
        return f"timestamp(6) {'with' if value.tzinfo else 'without'} time zone"
    if isinstance(value, dict | list | tuple):
        return "jsonb"
    return _PYTHON_TYPES.get(type(value))
