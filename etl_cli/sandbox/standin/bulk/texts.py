"""Texts of dates and times, a column at a time: as sql.temporal writes one value in style 121 (23 for a date)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl_cli.sandbox.standin.sql import temporal
from etl_cli.sandbox.standin.types import SqlType, SqlValue

DAYS_TO_1970 = 719_162
DATE_WIDTH, CLOCK_WIDTH = 10, 8
FULL_STYLES = frozenset({21, 25, 121})
ZERO = ord("0")
Digits = NDArray[np.uint8]


def temporal_texts(kind: SqlType, style: int | None) -> TemporalTexts | None:
    """Return the function over a list of values, None where there is none for the type and style."""
    if kind.name == "datetimeoffset" or (style is None and kind.name in ("datetime", "smalldatetime")):
        return None
    if style is None or style in FULL_STYLES or (style == 23 and kind.name == "date"):
        return TemporalTexts(kind)
    return None


class TemporalTexts:
    """Writes values of one type; all texts are width characters long."""

    def __init__(self, kind: SqlType) -> None:
        self.kind = kind
        self.scale = temporal.digits(kind)
        date = 0 if kind.name == "time" else DATE_WIDTH
        clock = 0 if kind.name == "date" else CLOCK_WIDTH + (self.scale + 1 if self.scale else 0)
        self.clock_at = date + 1 if date and clock else date
        self.width = self.clock_at + clock

    def __call__(self, values: list[SqlValue]) -> list[SqlValue]:
        """Return the texts; None stays None."""
        present = [value for value in values if value is not None]
        if not present:
            return values
        text = self._matrix(self._ticks(np.array(present, np.int64))).tobytes().decode("ascii")
        width = self.width
        texts = [text[at : at + width] for at in range(0, len(text), width)]
        if len(present) == len(values):
            return texts
        rest = iter(texts)
        return [None if value is None else next(rest) for value in values]

    def _ticks(self, array: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ticks since 0001-01-01, of a time of day since midnight."""
        if self.kind.name == "date":
            return array * temporal.DAY
        if self.kind.name == "datetime":
            ticks = temporal.TICKS_TO_1900 + (array * 100_000 + 1) // 3
            return (ticks + 5_000) // 10_000 * 10_000  # text shows milliseconds
        if self.kind.name == "smalldatetime":
            return temporal.TICKS_TO_1900 + array * temporal.MINUTE
        return array

    def _matrix(self, ticks: NDArray[np.int64]) -> Digits:
        out = np.empty((len(ticks), self.width), np.uint8)
        days = ticks // temporal.DAY
        if self.clock_at != 0 or self.kind.name == "date":
            _write_dates(out, days)
        if self.kind.name != "date":
            self._write_clocks(out, ticks - days * temporal.DAY)
        return out

    def _write_clocks(self, out: Digits, ticks: NDArray[np.int64]) -> None:
        at = self.clock_at
        if at:
            out[:, at - 1] = ord(" ")
        seconds = ticks // temporal.SECOND
        _write(out, at, 2, seconds // 3600)
        _write(out, at + 3, 2, seconds // 60 % 60)
        _write(out, at + 6, 2, seconds % 60)
        out[:, [at + 2, at + 5]] = ord(":")
        if self.scale:
            out[:, at + CLOCK_WIDTH] = ord(".")
            _write(out, at + CLOCK_WIDTH + 1, self.scale, ticks % temporal.SECOND // temporal.UNITS[self.scale])


def _write_dates(out: Digits, days: NDArray[np.int64]) -> None:
    dates = (days - DAYS_TO_1970).astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    number = months.astype(np.int64) + 1970 * 12
    _write(out, 0, 4, number // 12)
    _write(out, 5, 2, number % 12 + 1)
    _write(out, 8, 2, (dates - months).astype(np.int64) + 1)
    out[:, [4, 7]] = ord("-")


def _write(out: Digits, at: int, width: int, numbers: NDArray[Any]) -> None:
    """Write decimal digits, zeros in front."""
    for place in range(at + width - 1, at - 1, -1):
        numbers, digit = np.divmod(numbers, 10)
        out[:, place] = digit + ZERO
