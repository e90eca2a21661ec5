"""Makes Arrow batches of what an own source yields: rows as dicts, or Arrow as it is.

A column's type is what etl.py declares, else what the target has, else what the first values tell. It stays so:
a later value that does not fit is an error that names it, never another type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from etl_cli.runtime.errors import DataError, PlanError
from etl_cli.runtime.own.inference import type_of_value
from etl_cli.runtime.own.values import UNFIT, conversion_to, is_converted_by_value, why_not
from etl_cli.runtime.program.shapes import sink_type_of
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
        kinds = {type_of_value(value) for value in there}
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
        convert = conversion_to(kind)
        try:
            made = [None if v is None else convert(v) for v in values] if convert else values
            return pa.array(made, arrow_type(kind))
        except UNFIT:
            for row, value in enumerate(values):
                reason = why_not(value, kind)
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
        if pa.types.is_nested(array.type) or is_converted_by_value(kind):
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


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
