"""Numbers as people read them."""

from __future__ import annotations

from datetime import datetime

WIDTH_IN_A_PIPE = 240
"""Columns of text where no terminal limits it: wide enough for every table in a pipe or the journal."""


def count(number: float | None) -> str:
    """`1,234,567`; a dash for what is not known."""
    return "-" if number is None else f"{number:,.0f}"


def rate(per_second: float) -> str:
    """`1.2 M/s`, `345 k/s`, `12/s`."""
    if per_second >= 999_500:
        return f"{per_second / 1e6:.2f} M/s"
    return f"{per_second / 1e3:,.0f} k/s" if per_second >= 1e4 else f"{per_second:,.0f}/s"


def megabytes(number: float) -> str:
    """`12.3 MB`."""
    return f"{number / 1e6:,.1f} MB"


def duration(seconds: float | None) -> str:
    """`3.4 s`, `2:05`, `1:02:03`."""
    if seconds is None:
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def when(moment: datetime | None) -> str:
    """`2026-01-31 06:00:00 CET`: in its own zone, which it names."""
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}" if moment else "-"
