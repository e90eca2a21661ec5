"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.config.units import format_duration, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("24h", 86400),
        ("90d", 90 * 86400),
        ("2w", 14 * 86400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (" 10 S ", 10),
        ("0s", 0),
        ("42", 42),
        (42, 42),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "s", "5x", "5s!", "1h,30m", "1h30", "-5s", "five", "1e3s", "5s5", -1, True, None, [5], "10MB", "--5s"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="duration such as 30s, 15m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MB", 64_000_000), ("8MiB", 8 << 20), ("1 gb", 10**9), ("2GiB", 2 << 30), ("512", 512), (512, 512), ("10B", 10)]
    + [("1.5kB", 1500), ("1KiB", 1024)],
)
def test_a_size_is_read_in_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "64M", "64 m", "-1MB", -1, False, None, "1MB2", "10s"])
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="size such as 64MB or 8MiB"):
        parse_size(text)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("parse", [parse_duration, parse_size])
def test_a_number_that_is_not_finite_is_refused(parse: object, value: float) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match="must be"):
        parse(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5, "5s"), (900, "15m"), (5400, "90m"), (86400, "1d"), (604800, "1w"), (0.25, "0.25s"), (90, "90s")],
)
def test_a_duration_is_shown_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_of_whole_seconds_survives_being_shown_and_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=1, max_value=999).map(lambda thousandths: thousandths / 1000))
def test_a_duration_of_milliseconds_survives_being_shown_and_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [1_000_000.5, 0.00001, 123_456.789])
def test_a_long_fraction_survives_being_shown_and_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(_UNITS))), min_size=1, max_size=5))
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(text) == sum(number * _UNITS[unit] for number, unit in parts)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError:
            continue
