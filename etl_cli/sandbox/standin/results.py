"""What a statement answers with, before it becomes tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin.wire.tokens import ResultColumn
from etl_cli.sandbox.standin.wire.values import encoder

ROW_TOKEN = b"\xd1"
FIRST_BATCH, BATCH = 64, 512  # rows encoded at a time on the slow path


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Encoded rows; starts holds rows + 1 offsets into data, which begins at starts[0]."""

    data: memoryview
    starts: NDArray[Any]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.starts) - 1

    @property
    def bytes(self) -> memoryview:
        """The rows' bytes."""
        return self.data[int(self.starts[0]) : int(self.starts[-1])]

    def slice(self, start: int, stop: int) -> RowBlock:
        """Return some of the rows, without a copy."""
        return RowBlock(self.data, self.starts[start : stop + 1])


@dataclass(frozen=True, slots=True)
class ResultSet:
    """A query's rows on their way; table is the one whose rows it sends, '' for totals, several or none."""

    columns: tuple[ResultColumn, ...]
    blocks: Iterator[RowBlock]
    table: str = ""


@dataclass(frozen=True, slots=True)
class Affected:
    """Rows inserted, changed or deleted."""

    rows: int
    command: str


@dataclass(frozen=True, slots=True)
class Silent:
    """A statement that answers with nothing but its end; tokens go before that."""

    tokens: bytes = b""


Result = ResultSet | Affected | Silent


def encode_rows(columns: tuple[ResultColumn, ...], rows: Iterable[Sequence[Any]]) -> Iterator[RowBlock]:
    """Encode rows value by value, in blocks."""
    encoders = [encoder(column.type) for column in columns]
    pending = iter(rows)
    size = FIRST_BATCH
    while batch := list(islice(pending, size)):
        yield _block(
            [
                ROW_TOKEN + b"".join([encode(value) for encode, value in zip(encoders, row, strict=True)])
                for row in batch
            ]
        )
        size = BATCH


def _block(rows: list[bytes]) -> RowBlock:
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return RowBlock(memoryview(b"".join(rows)), starts)
