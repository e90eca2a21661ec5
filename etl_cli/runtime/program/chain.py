"""Passes a table's rows through what its etl.py declares for them, in the order of the declarations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl_cli.runtime.errors import DataError, PlanError
from etl_cli.runtime.ledger.rejects import Reject
from etl_cli.runtime.names import placed
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.program.declared import Change
from etl_cli.runtime.program.types import canonical_type
from etl_cli.runtime.source.rows import arrow_type
from etl_cli.runtime.transform import key_of

Row = dict[str, Any]

DECLARED_TYPE = b"postgres_type"
"""The metadata of an Arrow field under which a map keeps the type that its `columns` declare."""


class StepError(DataError):
    """A change of rows has failed; `row` is its place in the batch where that is known."""

    def __init__(self, message: str, remedy: str = "", row: int | None = None, reason: str = "") -> None:
        self.row = row
        self.reason = reason or message
        super().__init__(message, remedy)


class Chain:
    """The changes of one table; counts what they take away and add."""

    def __init__(self, plan: TablePlan, changes: Sequence[Change], shard: str) -> None:
        self._plan = plan
        self._shard = shard
        self._changes = changes
        self._key = [column.source for column in plan.columns if column.target in plan.key]
        self._rejecting = plan.on_bad_row == "reject"
        self.dropped = 0
        self.added = 0

    def shape(self, given: pa.Schema) -> pa.Schema:
        """The columns that come out, for these that go in. Raises PlanError."""
        batch = pa.RecordBatch.from_pylist([], schema=given)
        for number, change in enumerate(self._changes, start=1):
            batch = self._one(number, change, batch)
        return batch.schema

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Reject]]:
        """The rows as they come out, and those that were left out as bad. Raises StepError."""
        rejects: list[Reject] = []
        for number, change in enumerate(self._changes, start=1):
            before = batch.num_rows
            bad = len(rejects)
            batch = self._applied(number, change, batch, rejects)
            missing = before - (len(rejects) - bad) - batch.num_rows
            self.dropped += max(0, missing)
            self.added += max(0, -missing)
        return batch, rejects

    def _applied(self, number: int, change: Change, batch: pa.RecordBatch, rejects: list[Reject]) -> pa.RecordBatch:
        """One change; a row that it fails on is named, or left out by `on_bad_row: reject`."""
        try:
            return self._one(number, change, batch)
        except StepError as error:
            row = error.row if error.row is not None else self._first_bad(number, change, batch)
            if row is None:
                raise
            if not self._rejecting:
                raise self._named(error, batch, row) from error
            rejects.append(Reject(self._key_at(batch, row), None, error.reason))
            rest = batch.slice(row + 1)
            good = self._one(number, change, batch.slice(0, row)) if row else None
            more = self._applied(number, change, rest, rejects) if rest.num_rows else None
            parts = [part for part in (good, more) if part is not None]
            return pa.concat_batches(parts) if parts else self._one(number, change, batch.slice(0, 0))

    def _first_bad(self, number: int, change: Change, batch: pa.RecordBatch) -> int | None:
        """The first row that fails alone, found by halving; None where none does."""
        low, high = 0, batch.num_rows
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails(number, change, batch.slice(low, middle - low)):
                high = middle
            else:
                low = middle
        return low if high > low and self._fails(number, change, batch.slice(low, 1)) else None

    def _fails(self, number: int, change: Change, batch: pa.RecordBatch) -> bool:
        try:
            self._one(number, change, batch)
        except StepError:
            return True
        return False

    def _named(self, error: StepError, batch: pa.RecordBatch, row: int) -> StepError:
        key = ", ".join(f"{name} = {value}" for name, value in self._key_at(batch, row).items())
        told = f"{placed(self._plan.source, self._shard)}: {error.reason}; the row with {key or f'number {row + 1}'}"
        return StepError(told, "correct the row or the step; on_bad_row: reject would leave such rows out", row)

    def _key_at(self, batch: pa.RecordBatch, row: int) -> dict[str, str]:
        return key_of(self._plan, batch, row)

    def _one(self, number: int, change: Change, batch: pa.RecordBatch) -> pa.RecordBatch:
        how = {"transform": _transform, "map": _map, "filter": _filter, "model": _check}[change.kind]
        label = f'step[{number}] "{change.name}" failed'
        came = how(self._plan, label, change, batch)
        self._refuse_other_keys(label, change, batch, came)
        return came

    def _refuse_other_keys(self, label: str, change: Change, given: pa.RecordBatch, came: pa.RecordBatch) -> None:
        """A row whose key has changed would be another row to every later run."""
        if change.key or came is given:
            return
        for name in self._key:
            if came.schema.get_field_index(name) < 0:
                raise PlanError(f"{self._plan.source}: {label}: it takes the key's column {name} away", "keep it")
            old, new = given.column(name), came.column(name)
            if old.type != new.type:
                raise PlanError(
                    f"{self._plan.source}: {label}: it makes the key's column {name} {new.type}, it was {old.type}",
                    "keep it as it is",
                )
            same = old.equals(new) if len(old) == len(new) else pc.all(pc.is_in(new, old), min_count=0).as_py()
            if not same:
                raise StepError(
                    f"{self._plan.source}: {label}: it changes the key's column {name}",
                    "keep the key as it is, or name the new one: key=[...]",
                )


def _transform(plan: TablePlan, label: str, change: Change, batch: pa.RecordBatch) -> pa.RecordBatch:
    given = _as_frame(label, change, batch)
    try:
        came = change.function(given)
    except Exception as error:
        raise StepError(f"{plan.source}: {label}: {_told(error)}", reason=f"{label}: {_told(error)}") from error
    return _as_batch(plan, label, came, batch.schema)


def _as_frame(label: str, change: Change, batch: pa.RecordBatch) -> Any:
    if change.as_ == "arrow":
        return batch
    try:
        library = importlib.import_module(change.as_)
    except ImportError:
        raise PlanError(
            f"{label}: as_={change.as_!r} wants the package {change.as_}", f"pip install {change.as_}"
        ) from None
    return library.from_arrow(pa.Table.from_batches([batch])) if change.as_ == "polars" else batch.to_pandas()


def _as_batch(plan: TablePlan, label: str, came: Any, given: pa.Schema) -> pa.RecordBatch:
    if hasattr(came, "to_arrow"):  # polars
        came = came.to_arrow()
    elif type(came).__module__.partition(".")[0] == "pandas":
        came = pa.Table.from_pandas(came, preserve_index=False)
    if isinstance(came, pa.Table):
        batches = came.combine_chunks().to_batches()
        came = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=came.schema)
    if not isinstance(came, pa.RecordBatch):
        raise PlanError(
            f"{plan.source}: {label}: it gives back {type(came).__name__}, not a record batch",
            "return the batch, also where nothing is changed",
        )
    return _in_known_types(came, given)


def _in_known_types(came: pa.RecordBatch, given: pa.Schema) -> pa.RecordBatch:
    """Frames know fewer types than Arrow: what is still the same column becomes the same type again."""
    arrays, fields = [], []
    for name, array in zip(came.schema.names, came.columns, strict=True):
        place = given.get_field_index(name)
        wanted = given.field(place).type if place >= 0 else array.type
        alike = pa.types.is_large_string(wanted) and (
            pa.types.is_string(array.type) or pa.types.is_string_view(array.type)
        )
        array = array.cast(wanted) if alike and wanted != array.type else array
        arrays.append(array)
        fields.append(given.field(place) if place >= 0 and array.type == wanted else pa.field(name, array.type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _filter(plan: TablePlan, label: str, change: Change, batch: pa.RecordBatch) -> pa.RecordBatch:
    keep = []
    for number, row in enumerate(_rows(batch)):
        keep.append(bool(_called(label, change, row, number)))
    return batch if all(keep) else batch.filter(pa.array(keep, pa.bool_()))


def _check(plan: TablePlan, label: str, change: Change, batch: pa.RecordBatch) -> pa.RecordBatch:
    for number, row in enumerate(_rows(batch)):
        _called(label, change, row, number)
    return batch


def _map(plan: TablePlan, label: str, change: Change, batch: pa.RecordBatch) -> pa.RecordBatch:
    schema = _schema_after(plan, label, change, batch.schema)
    known = frozenset(schema.names)
    made: list[Row] = []
    origin: list[int] = []
    for number, row in enumerate(_rows(batch)):
        came = _called(label, change, row, number)
        for one in came if isinstance(came, list) else [came]:
            if one is None:
                continue
            made.append(one if type(one) is dict and one.keys() <= known else _as_row(plan, label, known, one))
            origin.append(number)
    return _built(label, schema, made, origin)


def _schema_after(plan: TablePlan, label: str, change: Change, given: pa.Schema) -> pa.Schema:
    fields = {field.name: field for field in given}
    for name, declared in change.columns.items():
        if declared is None:
            if fields.pop(name, None) is None:
                raise PlanError(f"{plan.source}: {label}: columns: there is no {name} to take away", "correct it")
            continue
        try:
            kind = canonical_type(declared)
        except ValueError as error:
            raise PlanError(f"{plan.source}: {label}: columns: {error}", "correct it") from None
        fields[name] = pa.field(name, arrow_type(kind), metadata={DECLARED_TYPE: kind.encode()})
    return pa.schema(list(fields.values()))


def _as_row(plan: TablePlan, label: str, known: frozenset[str], came: Any) -> Row:
    row = came.model_dump() if hasattr(came, "model_dump") else came
    if not isinstance(row, Mapping):
        raise PlanError(
            f"{plan.source}: {label}: it gives back {type(came).__name__}, not a row",
            "return the row as a dict, None to drop it, or a list of rows",
        )
    unknown = [name for name in row if name not in known]
    if unknown:
        raise PlanError(
            f"{plan.source}: {label}: it gives a column {unknown[0]} that is not declared",
            f'declare it: @pipeline.map(..., columns={{"{unknown[0]}": "text"}})',
        )
    return dict(row)


def _built(label: str, schema: pa.Schema, rows: Sequence[Row], origin: Sequence[int]) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            arrays.append(pa.array(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError, ValueError) as error:
            place = next((n for n, value in enumerate(values) if not _fits(value, field.type)), 0)
            shown = repr(values[place])[:80] if values else "nothing"
            reason = f"{label}: column {field.name} ({field.type}) cannot hold {shown}: {_told(error)}"
            raise StepError(reason, row=origin[place] if origin else None, reason=reason) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _fits(value: object, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError, ValueError):
        return False
    return True


def _called(label: str, change: Change, row: Row, number: int) -> Any:
    try:
        given = change.model.model_validate(row) if change.model is not None else row
        return change.function(given)
    except Exception as error:
        reason = f"{label}: {_told(error)}"
        raise StepError(reason, row=number, reason=reason) from error


def _rows(batch: pa.RecordBatch) -> list[Row]:
    names = batch.schema.names
    columns = [column.to_pylist() for column in batch.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _told(error: Exception) -> str:
    """An exception on one line; pydantic's without the address of its documentation."""
    listed: Callable[[], Sequence[Mapping[str, Any]]] | None = getattr(error, "errors", None)
    if callable(listed) and type(error).__name__ == "ValidationError":
        told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in listed())
        return f"does not fit the model: {told}"
    text = " ".join(str(error).split())
    return f"column {text} is not there" if isinstance(error, KeyError) else f"{type(error).__name__}: {text}"
