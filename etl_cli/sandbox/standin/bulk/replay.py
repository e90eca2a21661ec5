"""Encoded rows of a scan, made once, kept within a budget, sent as often as asked."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator

from etl_cli.sandbox.standin.results import RowBlock

CHUNK_BYTES = 1 << 20
LEAST_ROWS, MOST_ROWS = 64, 16384


def chunk_rows(row_bytes: float) -> int:
    """Return the rows of a chunk of about CHUNK_BYTES."""
    return int(min(max(CHUNK_BYTES / max(row_bytes, 1), LEAST_ROWS), MOST_ROWS))


class Kept:
    """The encoded chunks of one scan, and their bytes."""

    def __init__(self) -> None:
        self.chunks: dict[int, RowBlock] = {}
        self.byte_count = 0


class EncodedScan:
    """The rows of one select list in one order, in chunks of chunk_rows; make encodes rows start..stop."""

    def __init__(
        self, count: int, rows_of_chunk: int, make: Callable[[int, int], RowBlock], budget: ScanBudget
    ) -> None:
        self.count = count
        self.chunk_rows = rows_of_chunk
        self.kept = Kept()
        self._make = make
        self._budget = budget
        self._latch = threading.Lock()
        weakref.finalize(self, budget.release, self.kept)

    def chunk(self, number: int) -> RowBlock:
        """Return a chunk, encoded now unless it is kept."""
        found = self.kept.chunks.get(number)
        if found is None:
            with self._latch:
                found = self.kept.chunks.get(number)
                if found is None:
                    start = number * self.chunk_rows
                    found = self._make(start, min(start + self.chunk_rows, self.count))
                    self._budget.admit(self.kept, number, found)
        return found

    def rows(self, start: int, stop: int) -> Iterator[RowBlock]:
        """Yield the blocks that hold rows start..stop; nothing is copied."""
        while start < stop:
            number, first = divmod(start, self.chunk_rows)
            last = min(first + stop - start, self.chunk_rows)
            yield self.chunk(number).slice(first, last)
            start += last - first


class ScanBudget:
    """Bounds the bytes of all kept scans; the one not used for the longest time goes first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._scans: OrderedDict[Kept, None] = OrderedDict()
        self._latch = threading.RLock()  # a finalizer may run while it is held

    def admit(self, kept: Kept, number: int, block: RowBlock) -> None:
        """Keep a chunk of a scan, if that fits after others have made room."""
        size = len(block.data) + block.starts.nbytes
        with self._latch:
            self._scans[kept] = None
            self._scans.move_to_end(kept)
            while self.used_bytes + size > self.limit_bytes and next(iter(self._scans)) is not kept:
                self.release(next(iter(self._scans)))
            if self.used_bytes + size <= self.limit_bytes:
                kept.chunks[number] = block
                kept.byte_count += size
                self.used_bytes += size

    def release(self, kept: Kept) -> None:
        """Forget the chunks of a scan."""
        with self._latch:
            self._scans.pop(kept, None)
            self.used_bytes -= kept.byte_count
            kept.byte_count = 0
            kept.chunks = {}
