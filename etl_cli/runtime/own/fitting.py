"""Fits the rows of an own source to their model and their columns; bad ones end the run, or are put aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from etl_cli.runtime.errors import DataError
from etl_cli.runtime.ledger.rejects import Reject
from etl_cli.runtime.own.columns import Columns, UnfitRowError
from etl_cli.runtime.own.pages import Rows
from etl_cli.runtime.program.sources import Source


class Fitting:
    """Of one member: what it puts aside by `on_bad_row: reject` waits for the chunk that it is recorded with."""

    def __init__(self, source: Source, label: str, columns: Columns) -> None:
        self._source = source
        self._label = label
        self._columns = columns
        self.rejects: list[Reject] = []

    def batch(self, rows: Rows) -> pa.RecordBatch:
        """The rows in the source's columns. Raises DataError for a bad one."""
        if self._source.model is not None:
            rows = self._of_model(rows if isinstance(rows, list) else rows.to_pylist())
        while True:
            try:
                return self._columns.batch(rows)
            except UnfitRowError as error:
                if self._source.on_bad_row != "reject" or not isinstance(rows, list):
                    raise
                self.rejects.append(Reject(self._key_of(rows[error.row]), error.column, error.reason))
                rows = rows[: error.row] + rows[error.row + 1 :]

    def take_rejects(self) -> list[Reject]:
        """Those that wait; none do any more."""
        rejects, self.rejects = self.rejects, []
        return rejects

    def _of_model(self, rows: list[Mapping[str, Any]]) -> Rows:
        from pydantic import ValidationError

        kept = []
        for row in rows:
            try:
                kept.append(self._source.model.model_validate(row).model_dump())
            except ValidationError as error:
                told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
                reject = Reject(self._key_of(row), None, f"does not fit the model: {told}")
                if self._source.on_bad_row != "reject":
                    remedy = "correct the row or the model; on_bad_row='reject' would leave such rows out"
                    raise DataError(f"{self._label}: {reject}", remedy) from None
                self.rejects.append(reject)
        return kept

    def _key_of(self, row: Mapping[str, Any]) -> dict[str, str]:
        return {name: str(row.get(name)) for name in self._source.key}
