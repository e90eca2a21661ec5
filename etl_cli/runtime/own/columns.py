"""Makes Arrow batches of what an own source yields: rows as dicts, or Arrow as it is.

A column's type is what etl.py declares, else what the target has, else what the first values tell. It stays so:
a later value that does not fit is an error that names it, never another type.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from etl_cli.runtime.errors import DataError, PlanError
from etl_cli.runtime.program.shapes import sink_type_of
from etl_cli.runtime.program.types import canonical_type
from etl_cli.runtime.source.rows import arrow_type

Row = Mapping[str, Any]


class UnfitRowError(DataError):
    """A row that its columns cannot hold; `row` is its place in the batch."""

    def __init__(self, message: str, remedy: str = "", row: int = 0, column: str = "", reason: str = "") -> None:
        self.row = row
        self.column = column
        self.reason = reason
        super().__init__(message, remedy)


class Columns:
    """The columns of one source, as far as they are known; they only grow."""

    def __init__(self, source: str, declared: Mapping[str, str], there: Mapping[str, str] | None = None) -> None:
        self._source = source
        self._there = there or {}
        """Types of the target's columns by their names in the sink."""
        self.types: dict[str, str] = dict(declared)
        """Postgres type by name, in the order of the columns."""

    @property
    def schema(self) -> pa.Schema:
        """Of every batch from now on."""
        return pa.schema([(name, arrow_type(kind)) for name, kind in self.types.items()])

    def batch(self, given: Sequence[Row] | pa.RecordBatch) -> pa.RecordBatch:
        """The rows in all columns that are known, with those that they bring. Raises UnfitRowError, PlanError."""
        if isinstance(given, pa.RecordBatch):
            return self._of_arrow(given)
        for name in dict.fromkeys(name for row in given for name in row):
            if name not in self.types:
                kind = self._told_by(name, [row.get(name) for row in given])
                if kind is not None:
                    self.types[name] = kind
        arrays = [self._array(name, [row.get(name) for row in given]) for name in self.types]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of before with the columns that have come since."""
        missing = [field for field in self.schema if field.name not in batch.schema.names]
        if not missing:
            return batch
        arrays = [*batch.columns, *(pa.nulls(batch.num_rows, field.type) for field in missing)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def kind(self, name: str) -> str | None:
        """The type of a column, known or to be; None where nothing tells yet."""
        return self.types.get(name) or self._there.get(name) or self._there.get(name.lower())

    def _told_by(self, name: str, values: Sequence[Any]) -> str | None:
        """The type that the target or the values tell; None where all of them are NULL."""
        there = [value for value in values if value is not None]
        if not there:
            return None
        kind = self.kind(name)
        if kind is not None:
            return kind
        kinds = {_type_of_value(value) for value in there}
        if "jsonb" in kinds and None not in kinds:
            kinds = {"jsonb"}  # it holds numbers and texts as well
        if kinds == {"bigint", "double precision"}:
            kinds = {"double precision"}
        if len(kinds) > 1 or None in kinds:
            shown = ", ".join(sorted({type(value).__name__ for value in there}))
            raise PlanError(
                f"{self._source}: column {name} holds {shown}: its type cannot be told from them",
                f'declare it, e.g. columns={{"{name}": "numeric(18,2)"}}',
            )
        return kinds.pop()

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        kind = self.types[name]
        convert = _CONVERSIONS.get(_family(kind))
        try:
            made = [None if v is None else convert(v) for v in values] if convert else values
            return pa.array(made, arrow_type(kind))
        except _UNFIT:
            for row, value in enumerate(values):
                reason = _why_not(value, kind, convert)
                if reason is not None:
                    told = f"column {name} ({kind}) cannot hold {_shown(value)}: {reason}"
                    remedy = "correct the value, or declare the column: columns={...}"
                    raise UnfitRowError(f"{self._source}: {told}", remedy, row, name, told) from None
            raise

    def _of_arrow(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays: dict[str, pa.Array] = {}
        for field, array in zip(batch.schema, batch.columns, strict=True):
            array = self._plain(field.name, array)
            if pa.types.is_null(array.type) and field.name not in self.types:
                continue
            if field.name not in self.types:
                told = "jsonb" if pa.types.is_nested(array.type) else None
                kind = self.kind(field.name) or told or sink_type_of(self._source, field.name, array.type)
                try:
                    arrow_type(kind)
                except ValueError as error:
                    raise self._unfit(field.name, array, kind, error) from None
                self.types[field.name] = kind
            arrays[field.name] = self._cast(field.name, array)
        schema = self.schema
        whole = [arrays.get(f.name) for f in schema]
        rows = batch.num_rows
        filled = [pa.nulls(rows, f.type) if a is None else a for a, f in zip(whole, schema, strict=True)]
        return pa.RecordBatch.from_arrays(filled, schema=schema)

    def _cast(self, name: str, array: pa.Array) -> pa.Array:
        kind = self.types[name]
        wanted = arrow_type(kind)
        if array.type == wanted:
            return array
        if pa.types.is_nested(array.type) or _family(kind) in _FROM_ROWS:
            return self._array(name, array.to_pylist())
        try:
            return array.cast(wanted)
        except pa.ArrowException as error:
            raise self._unfit(name, array, kind, error) from None

    def _plain(self, name: str, array: pa.Array) -> pa.Array:
        try:
            return _plain(array)
        except pa.ArrowException as error:
            raise self._unfit(name, array, "timestamp(6)", error) from None

    def _unfit(self, name: str, array: pa.Array, kind: str, error: Exception) -> PlanError:
        return PlanError(
            f"{self._source}: column {name} is {array.type} and does not fit {kind}: {' '.join(str(error).split())}",
            f'cast it, or declare another type: columns={{"{name}": ...}}',
        )


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


def _type_of_value(value: Any) -> str | None:
    if isinstance(value, dt.datetime):
        return f"timestamp(6) {'with' if value.tzinfo else 'without'} time zone"
    if isinstance(value, dict | list | tuple):
        return "jsonb"
    return _PYTHON_TYPES.get(type(value))


def _instant(value: Any) -> dt.datetime:
    """A time with its zone; text as in ISO 8601."""
    found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, dt.datetime):
        raise TypeError("not a datetime")
    if found.tzinfo is None:
        raise ValueError("it has no time zone")
    return found


def _wall_time(value: Any) -> dt.datetime:
    found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, dt.datetime):
        raise TypeError("not a datetime")
    if found.tzinfo is not None:
        raise ValueError("it has a time zone")
    return found


def _day(value: Any) -> dt.date:
    found = dt.date.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, dt.date) or isinstance(found, dt.datetime):
        raise TypeError("not a date")
    return found


def _time_of_day(value: Any) -> dt.time:
    found = dt.time.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, dt.time):
        raise TypeError("not a time")
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
    if isinstance(value, bool):
        raise TypeError("a bool is no number")
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
    "timestamp without time zone": _wall_time,
    "date": _day,
    "time without time zone": _time_of_day,
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
"""Types whose values are converted one by one from an Arrow array of another type, too."""

_HIGHEST_REAL = 3.4028234663852886e38

_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError)


def _why_not(value: Any, kind: str, convert: Callable[[Any], Any] | None) -> str | None:
    if value is None:
        return None
    try:
        pa.array([convert(value) if convert else value], arrow_type(kind))
    except _UNFIT as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _family(kind: str) -> str:
    """A type without its length or precision."""
    return re.sub(r"\([\d,]+\)", "", kind)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _plain(array: pa.Array) -> pa.Array:
    """Without the encodings that are another way to hold the same values."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    if pa.types.is_timestamp(array.type) and array.type.unit != "us":
        return array.cast(pa.timestamp("us", tz=array.type.tz))
    if pa.types.is_time32(array.type):
        return array.cast(pa.time64("us"))
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    return array
