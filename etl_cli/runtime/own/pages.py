"""What an own source's function yields, taken apart: rows, the position with them, and when a batch is full."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from etl_cli.runtime.errors import EtlError, PlanError, SourceError
from etl_cli.runtime.program.arguments import arguments_of
from etl_cli.runtime.program.json_values import refuse_what_json_cannot_hold
from etl_cli.runtime.program.sources import Source

_ROWS_A_BATCH = 10_000
_SINGLE_ROWS_A_BATCH = 1_000
"""Where a function yields its rows one by one."""

Rows: TypeAlias = list[Mapping[str, Any]] | pa.RecordBatch


@dataclass(frozen=True)
class Page:
    """One yield; `position` None is none: it is what a function is given that begins."""

    rows: Rows
    position: Any = None
    is_single: bool = False

    @property
    def has_position(self) -> bool:
        """Whether another try may go on after it."""
        return self.position is not None

    @property
    def size(self) -> int:
        """Its rows."""
        return len(self.rows) if isinstance(self.rows, list) else self.rows.num_rows


def pages_of(source: Source, known: Mapping[str, Any], label: str, told: Callable[[Exception], str]) -> Iterator[Page]:
    """Call the source's function with those of `known` that it takes, and take apart what it yields.

    Raises SourceError where the function fails, by `told`, and PlanError for yields that are no rows or whose position
    the ledger could not keep.
    """
    arguments = arguments_of(source.function, known, f"extract {source.name}")

    def failed(error: Exception) -> SourceError:
        return SourceError(f"{label}: read failed: {told(error)}")

    try:
        pages = iter(source.function(**arguments))
    except Exception as error:
        raise failed(error) from error
    while True:
        try:
            item = next(pages)
        except StopIteration:
            return
        except EtlError:
            raise
        except Exception as error:
            raise failed(error) from error
        page = page_of(label, item)
        if page.has_position:
            refuse_what_json_cannot_hold(page.position, f"{label}: its position is", "yield a number or a text")
        yield page


def page_of(label: str, item: Any) -> Page:
    """A yield taken apart. Raises PlanError for one that is no rows."""
    if isinstance(item, tuple):
        if len(item) != 2:
            raise PlanError(f"{label}: it yields a tuple of {len(item)}", "yield rows, or (rows, position)")
        rows, is_single = _rows_of(label, item[0])
        return Page(rows, item[1], is_single)
    rows, is_single = _rows_of(label, item)
    return Page(rows, is_single=is_single)


def _rows_of(label: str, given: Any) -> tuple[Rows, bool]:
    if hasattr(given, "to_arrow"):  # polars
        given = given.to_arrow()
    elif type(given).__module__.partition(".")[0] == "pandas":
        try:
            given = pa.Table.from_pandas(given, preserve_index=False)
        except pa.ArrowException as error:
            told = " ".join(str(error).split())
            raise PlanError(f"{label}: a frame that Arrow does not take: {told}", "give each column one type") from None
    if isinstance(given, pa.Table):
        batches = given.combine_chunks().to_batches()
        given = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=given.schema)
    if isinstance(given, pa.RecordBatch):
        return given, False
    if isinstance(given, Mapping) or hasattr(given, "model_dump"):
        return [_row_of(label, given)], True
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return [_row_of(label, row) for row in given], False
    raise PlanError(
        f"{label}: it yields {type(given).__name__}, not rows", "yield dicts, lists of dicts, or Arrow batches"
    )


def _row_of(label: str, given: Any) -> Mapping[str, Any]:
    row = given.model_dump() if hasattr(given, "model_dump") else given
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        shown = type(row).__name__ if not isinstance(row, Mapping) else "a dict whose keys are not all texts"
        raise PlanError(f"{label}: it yields {shown} as a row", "yield a row as a dict: column to value")
    return row


@dataclass
class Gathering:
    """Pages that become one batch: so many of them, or as many as hold 10,000 rows."""

    pages: int | None
    waiting: list[Page] = field(default_factory=list)
    rows: int = 0
    are_single: bool = True

    def add(self, page: Page) -> None:
        """Take another one."""
        self.waiting.append(page)
        self.rows += page.size
        self.are_single = self.are_single and page.is_single

    @property
    def is_full(self) -> bool:
        """Whether what waits is a batch."""
        most = self.pages or (_SINGLE_ROWS_A_BATCH if self.are_single else 1)
        return len(self.waiting) >= most or self.rows >= _ROWS_A_BATCH

    def take(self) -> tuple[list[Rows], Page | None]:
        """What waits, with neighbouring rows in one piece, and the last page; nothing waits any more."""
        pages, self.waiting, self.rows, self.are_single = self.waiting, [], 0, True
        return _joined([page.rows for page in pages]), pages[-1] if pages else None


def _joined(given: Sequence[Rows]) -> list[Rows]:
    joined: list[Rows] = []
    for rows in given:
        before = joined[-1] if joined else None
        if isinstance(rows, list) and isinstance(before, list):
            before.extend(rows)
        else:
            joined.append(list(rows) if isinstance(rows, list) else rows)
    return joined
