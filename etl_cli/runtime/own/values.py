"""Which Python values a column of a Postgres type holds, and what Arrow is given of them."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from etl_cli.runtime.source.rows import arrow_type

_Temporal = TypeVar("_Temporal", dt.datetime, dt.date, dt.time)
_Clock = TypeVar("_Clock", dt.datetime, dt.time)


def _temporal(kind: type[_Temporal], value: Any) -> _Temporal:
    """A value of this kind; text as in ISO 8601."""
    found = kind.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, kind) or (kind is dt.date and isinstance(found, dt.datetime)):
        raise TypeError(f"not a {kind.__name__}")
    return found


def _instant(value: Any) -> dt.datetime:
    found = _temporal(dt.datetime, value)
    if found.tzinfo is None:
        raise ValueError("it has no time zone")
    return found


def _wall_time(kind: type[_Clock], value: Any) -> _Clock:
    found = _temporal(kind, value)
    if found.tzinfo is not None:
        raise ValueError("it has a time zone")
    return found


def _whole(value: Any) -> Any:
    """Arrow would cut the fraction off."""
    if isinstance(value, float | Decimal) and value != int(value):
        raise ValueError("it has a fraction")
    return _no_bool(value)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError("a bool is no number")
    return value


def _single(value: Any) -> Any:
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) > _HIGHEST_REAL:
        raise ValueError("it is too large")
    return _no_bool(value)


def _number(value: Any) -> Any:
    _no_bool(value)
    return Decimal(str(value)) if isinstance(value, str | int | float) else value


def _as_json(value: Any) -> str:
    return json.dumps(value, default=_jsonable, ensure_ascii=False, allow_nan=False)


def _jsonable(value: Any) -> Any:
    dump: Callable[..., Any] | None = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal | uuid.UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON holds")


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "jsonb": _as_json,
    "uuid": lambda value: str(uuid.UUID(str(value))),
    "numeric": _number,
    "timestamp with time zone": _instant,
    "timestamp without time zone": partial(_wall_time, dt.datetime),
    "date": partial(_temporal, dt.date),
    "time without time zone": partial(_wall_time, dt.time),
    "smallint": _whole,
    "integer": _whole,
    "bigint": _whole,
    "double precision": _no_bool,
    "real": _single,
}
_FROM_ROWS = frozenset(
    ["jsonb", "uuid", "numeric", "timestamp with time zone", "timestamp without time zone", "date"]
    + ["time without time zone", "real", "boolean"]
)

_HIGHEST_REAL = 3.4028234663852886e38

UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError)
"""What a conversion, and Arrow, raise for a value that does not fit."""


def conversion_to(kind: str) -> Callable[[Any], Any] | None:
    """What makes of a value one that Arrow takes for a column of this type, and refuses others; None = as it is."""
    return _CONVERSIONS.get(_family(kind))


def is_converted_by_value(kind: str) -> bool:
    """Whether an Arrow array of another type is converted value by value, too."""
    return _family(kind) in _FROM_ROWS


def why_not(value: Any, kind: str) -> str | None:
    """Why a column of this type cannot hold a value; None = it can."""
    if value is None:
        return None
    convert = conversion_to(kind)
    try:
        pa.array([convert(value) if convert else value], arrow_type(kind))
    except UNFIT as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _family(kind: str) -> str:
    """A type without its length or precision."""
    return re.sub(r"\([\d,]+\)", "", kind)
