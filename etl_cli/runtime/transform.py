"""Turns a batch as a reader gives it into the bytes that COPY (FORMAT BINARY) wants.

A column at a time, never a value at a time. Times are cut to microseconds, not rounded: rounding
would carry 9999-12-31 23:59:59.9999999 into a year that does not exist.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pgpq
import pgpq.encoders
import pgpq.schema
import pyarrow as pa
import pyarrow.compute as pc

from etl_cli.runtime import ewkb
from etl_cli.runtime.errors import DataError
from etl_cli.runtime.ledger.rejects import Reject
from etl_cli.runtime.names import placed
from etl_cli.runtime.plan import LINEAGE, ColumnPlan, TablePlan
from etl_cli.runtime.source.scan import OPERATION, srid_of
from etl_cli.runtime.type_map import base_type

Convert = Callable[[pa.Array], pa.Array]
FirstBad = Callable[[pa.RecordBatch, ColumnPlan, Sequence[int]], int | None]
"""Which of a batch's rows with U+FFFD in a column had a lone surrogate there in the source."""

_NUL = b"\0"
_REPLACEMENT = "\ufffd".encode()


@dataclass
class Findings:
    """What a task's rows held that is worth telling, by the target's column."""

    stripped: dict[str, int] = field(default_factory=dict)
    """Values that lost a U+0000."""
    srids: dict[str, set[int]] = field(default_factory=dict)
    """Spatial reference systems."""


class BatchEncoder:
    """Encodes the batches of one task: conversion to the target's exact wire types, then pgpq.

    `constants` are columns that have one value in all rows: (name, value), in the order of COPY after the
    planned ones. With `operation` the column of mode changes comes last.
    """

    def __init__(
        self,
        plan: TablePlan,
        shard: str,
        first_bad: FirstBad | None = None,
        constants: Sequence[tuple[str, pa.Scalar]] | None = None,
        operation: str | None = None,
    ) -> None:
        self._plan = plan
        self._shard = shard
        self._first_bad = first_bad
        if constants is None:
            constants = [(plan.shard_column, pa.scalar(shard, pa.string()))] if plan.shard_column else []
        self._constants = [_Constant(name, value) for name, value in constants]
        self._operation = operation
        self._encoder: pgpq.ArrowToPostgresBinaryEncoder | None = None
        self._schema: pa.Schema | None = None
        self.findings = Findings()

    def begin(self) -> None:
        """Start a COPY stream: its header goes before the first batch."""
        self._encoder = None

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The batch's rows in binary COPY format, with the stream's header where it is the first.

        The encoder keeps up to 1 MB back for the next call or for `finish`. Raises BadRowError for a value
        that Postgres cannot hold.
        """
        arrays = [self._convert(batch, column) for column in self._plan.columns]
        arrays += [constant.times(batch.num_rows) for constant in self._constants]
        if self._operation is not None:
            arrays.append(batch.column(OPERATION))
        schema = self._schema_of(arrays)
        wire = pa.RecordBatch.from_arrays(arrays, schema=schema)
        if self._encoder is not None:
            return self._encoder.write_batch(wire)
        self._encoder = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(schema, self._builders(schema))
        return self._encoder.write_header() + self._encoder.write_batch(wire)

    def finish(self) -> bytes:
        """What was kept back, and the end of the COPY stream."""
        assert self._encoder is not None
        return self._encoder.finish()

    def _convert(self, batch: pa.RecordBatch, column: ColumnPlan) -> pa.Array:
        array = batch.column(column.source)
        if array.offset:
            array = pa.concat_arrays([array])  # the conversions below read whole buffers
        if column.spatial:
            array = self._spatial(batch, column, array)
        if column.text:
            array = self._checked_text(batch, column, array)
        convert = _CONVERSIONS.get((str(array.type), base_type(column.sink_type)))
        return convert(array) if convert else array

    def _spatial(self, batch: pa.RecordBatch, column: ColumnPlan, array: pa.Array) -> pa.Array:
        """WKB as it is, its SRIDs noted; with its SRID where the target is a type of PostGIS."""
        srids = batch.column(srid_of(column))
        if column.sink_type == "bytea":
            self.findings.srids.setdefault(column.target, set()).update(pc.unique(srids).drop_null().to_pylist())
            return array
        bad = ewkb.first_unstorable(array, base_type(column.sink_type))
        if bad is not None:
            row, what = bad
            remedy = "take the column out of `types`: it becomes bytea"
            raise bad_row(self._plan, self._shard, batch, column, row, what, remedy)
        return ewkb.with_srids(array, srids)

    def _checked_text(self, batch: pa.RecordBatch, column: ColumnPlan, array: pa.Array) -> pa.Array:
        """Traps 12 and 13: Postgres holds neither U+0000 nor half a surrogate pair."""
        data = _text_bytes(array)
        if column.utf16 and self._first_bad and _REPLACEMENT in data:
            self._refuse_surrogates(batch, column, array)
        return self._without_nul(batch, column, array) if _NUL in data else array

    def _refuse_surrogates(self, batch: pa.RecordBatch, column: ColumnPlan, array: pa.Array) -> None:
        assert self._first_bad is not None
        suspicious = pc.match_substring(array, "\ufffd").to_pylist()
        rows = [row for row, is_suspicious in enumerate(suspicious) if is_suspicious]
        row = self._first_bad(batch, column, rows)
        if row is not None:
            raise bad_row(self._plan, self._shard, batch, column, row, "a lone surrogate", "correct the row")

    def _without_nul(self, batch: pa.RecordBatch, column: ColumnPlan, array: pa.Array) -> pa.Array:
        bad = pc.match_substring(array, "\0")
        if self._plan.nul_characters == "strip":
            found = pc.sum(bad).as_py() or 0
            self.findings.stripped[column.target] = self.findings.stripped.get(column.target, 0) + found
            return pc.replace_substring(array, "\0", "")
        row = pc.index(bad, True).as_py()
        remedy = "set nul_characters: strip, or correct the row"
        raise bad_row(self._plan, self._shard, batch, column, row, "U+0000", remedy)

    def _schema_of(self, arrays: list[pa.Array]) -> pa.Schema:
        if self._schema is None:
            names = [column.target for column in self._plan.columns]
            names += [constant.name for constant in self._constants]
            if self._operation is not None:
                names.append(self._operation)
            self._schema = pa.schema([pa.field(n, a.type) for n, a in zip(names, arrays, strict=True)])
        return self._schema

    def _builders(self, schema: pa.Schema) -> dict[str, Any]:
        types = {column.target: column.sink_type for column in self._plan.columns}
        return {field.name: _builder(field, types.get(field.name, "text")) for field in schema}


def constants_of(plan: TablePlan, shard: str, run_id: int) -> list[tuple[str, pa.Scalar]]:
    """The columns that a task's rows have in common: the shard's name and the lineage."""
    constants = [(plan.shard_column, pa.scalar(shard, pa.string()))] if plan.shard_column else []
    if plan.lineage:
        now = dt.datetime.now(dt.UTC)
        run_column, time_column = LINEAGE
        constants.append((run_column, pa.scalar(run_id, pa.int64())))
        constants.append((time_column, pa.scalar(now, pa.timestamp("us", tz="UTC"))))
    return constants


class _Constant:
    """A column with one value in all rows; made once and sliced."""

    def __init__(self, name: str, value: pa.Scalar) -> None:
        self.name = name
        self._value = value
        self._values = pa.array([], value.type)

    def times(self, rows: int) -> pa.Array:
        """The value `rows` times."""
        if len(self._values) < rows:
            self._values = pa.repeat(self._value, rows)
        return self._values.slice(0, rows)


class BadRowError(DataError):
    """A value that Postgres cannot store."""

    def __init__(self, message: str, remedy: str = "", row: int = 0, reject: Reject | None = None) -> None:
        self.row = row
        """The row's place in its batch."""
        self.reject = reject or Reject({}, None, message)
        super().__init__(message, remedy)


def bad_row(
    plan: TablePlan, shard: str, batch: pa.RecordBatch, column: ColumnPlan, row: int, what: str, remedy: str
) -> BadRowError:
    """An error that names table, shard, column and the row's key."""
    reject = Reject(key_of(plan, batch, row), column.source, f"holds {what}")
    named = ", ".join(f"{name} = {value}" for name, value in reject.key.items())
    return BadRowError(
        f"{placed(plan.source, shard)}: column {column.source} holds {what} in the row with "
        f"{named or f'number {row + 1} of its batch'}, which Postgres cannot store",
        remedy,
        row,
        reject,
    )


def key_of(plan: TablePlan, batch: pa.RecordBatch, row: int) -> dict[str, str]:
    """A row's key as the source names it, for people."""
    key = [c.source for c in plan.columns if c.target in plan.key]
    return {name: _shown(batch.column(name)[row].as_py()) for name in key}


def _shown(value: object) -> str:
    """A key's value in a message: on one line, and not too long."""
    text = repr(value)[1:-1] if isinstance(value, str) else str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _builder(field: pa.Field, sink_type: str) -> Any:
    if sink_type == "jsonb":
        large = pa.types.is_large_string(field.type)
        kind = pgpq.encoders.LargeStringEncoderBuilder if large else pgpq.encoders.StringEncoderBuilder
        return kind.new_with_output(field, pgpq.schema.Jsonb())
    return pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(field)


def _text_bytes(array: pa.Array) -> bytes:
    """The UTF-8 of all values of a text column, one after the other."""
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return b""
    wide = pa.types.is_large_string(array.type)
    bounds = pa.Array.from_buffers(pa.int64() if wide else pa.int32(), len(array) + 1, [None, offsets])
    start, end = bounds[0].as_py(), bounds[-1].as_py()
    return bytes(data.slice(start, end - start).to_pybytes())


def _time_to_microseconds(array: pa.Array) -> pa.Array:
    nanoseconds = array.view(pa.int64())
    return pc.divide(nanoseconds, 1000).view(pa.time64("us"))


def _uuid_to_bytes(array: pa.Array) -> pa.Array:
    """Text of 36 characters each to the 16 bytes in network order that uuid has on the wire.

    NULLs take no text, so all texts together are whole multiples of 36 and convert in one go.
    """
    digits = bytes.fromhex(_text_bytes(array).replace(b"-", b"").decode("ascii"))
    validity, offsets, _ = array.buffers()
    wide = pa.types.is_large_string(array.type)
    ends = pa.Array.from_buffers(pa.int64() if wide else pa.int32(), len(array) + 1, [None, offsets])
    shorter = pc.multiply(pc.divide(pc.subtract(ends, ends[0]), 36), 16).cast(ends.type)
    kind = pa.large_binary() if wide else pa.binary()
    return pa.Array.from_buffers(kind, len(array), [validity, shorter.buffers()[1], pa.py_buffer(digits)])


def _vector_to_list(array: pa.Array) -> pa.Array:
    import json

    values = [None if text is None else json.loads(text) for text in array.to_pylist()]
    return pa.array(values, pa.list_(pa.float32()))


def _vector_to_binary(array: pa.Array) -> pa.Array:
    """Pgvector's binary form: the number of dimensions, two bytes of nothing, the values; in network order."""
    import json
    import struct

    lists = [None if text is None else json.loads(text) for text in array.to_pylist()]
    packed = [None if v is None else struct.pack(f">HH{len(v)}f", len(v), 0, *v) for v in lists]
    return pa.array(packed, pa.binary())


_CONVERSIONS: dict[tuple[str, str], Convert] = {
    ("uint8", "smallint"): lambda array: array.cast(pa.int16()),
    ("time64[ns]", "time(6) without time zone"): _time_to_microseconds,
    ("large_string", "uuid"): _uuid_to_bytes,
    ("string", "uuid"): _uuid_to_bytes,
    ("large_string", "real[]"): _vector_to_list,
    ("string", "real[]"): _vector_to_list,
    ("large_string", "vector"): _vector_to_binary,
    ("string", "vector"): _vector_to_binary,
    ("int32", "smallint"): lambda array: array.cast(pa.int16()),
}
