"""Identifiers: quoted, folded, cut as Postgres cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.names import collisions, cut, fold, quote_sink, quote_source, quote_text, with_suffix


@pytest.mark.parametrize(
    ("parts", "quoted"),
    [
        (("dbo", "orders"), "[dbo].[orders]"),
        (("order lines",), "[order lines]"),
        (("a]b",), "[a]]b]"),
        (("[a]",), "[[a]]]"),
        (("a.b", "c"), "[a.b].[c]"),
        (('say "x"',), '[say "x"]'),
        (("",), "[]"),
    ],
)
def test_a_source_name_is_quoted_in_brackets(parts: tuple[str, ...], quoted: str) -> None:
    assert quote_source(*parts) == quoted


@pytest.mark.parametrize(
    ("parts", "quoted"),
    [
        (("public", "orders"), '"public"."orders"'),
        (('a"b',), '"a""b"'),
        (('"',), '""""'),
        (("a.b", "C d"), '"a.b"."C d"'),
    ],
)
def test_a_sink_name_is_quoted_in_double_quotes(parts: tuple[str, ...], quoted: str) -> None:
    assert quote_sink(*parts) == quoted


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_a_quoted_source_name_has_one_reading(parts: list[str]) -> None:
    inner = quote_source(*parts)[1:-1].split("].[") if len(parts) == 1 else None
    if inner is not None:
        assert inner == [parts[0].replace("]", "]]")] or "].[" in parts[0].replace("]", "]]")
    assert quote_source(*parts).count("]") == 2 * "".join(parts).count("]") + len(parts)


@given(st.text(min_size=1))
def test_a_quoted_sink_name_reads_back_as_the_name(name: str) -> None:
    assert quote_sink(name)[1:-1].replace('""', '"') == name


@pytest.mark.parametrize(
    ("text", "literal"),
    [("plain", "'plain'"), ("it's", "'it''s'"), ("a\\b", "E'a\\\\b'"), ("\\'", "E'\\\\'''"), ("", "''")],
)
def test_a_text_is_a_literal_whatever_the_server_takes_backslashes_for(text: str, literal: str) -> None:
    assert quote_text(text) == literal


def test_names_are_folded_to_lower_case_or_kept() -> None:
    assert fold("OrderLines", "fold") == "orderlines"
    assert fold("OrderLines", "keep") == "OrderLines"
    assert fold("ÄÖÜ", "fold") == "äöü"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a" * 63, "a" * 63),
        ("a" * 64, "a" * 63),
        ("ä" * 32, "ä" * 31),  # 62 bytes: the 63rd would be half a letter
        ("a" + "ä" * 31, "a" + "ä" * 31),
        ("東" * 22, "東" * 21),
        ("a" + "東" * 21, "a" + "東" * 20),
        ("😀" * 16, "😀" * 15),
        ("", ""),
    ],
)
def test_a_name_is_cut_at_63_bytes_never_within_a_character(name: str, stored: str) -> None:
    assert cut(name) == stored


@given(st.text())
def test_what_is_cut_is_the_beginning_and_fits(name: str) -> None:
    short = cut(name)
    assert name.startswith(short)
    assert len(short.encode()) <= 63
    assert cut(short) == short


@given(st.text(), st.text(alphabet="abc_0123456789", max_size=20))
def test_a_suffix_is_never_cut(name: str, suffix: str) -> None:
    suffixed = with_suffix(name, suffix)
    assert suffixed.endswith(suffix)
    assert len(suffixed.encode()) <= 63
    assert name.startswith(suffixed.removesuffix(suffix) if suffix else suffixed)


def test_names_that_meet_after_the_cut_are_found() -> None:
    long = "x" * 63
    assert collisions(["a", "b", long + "1", long + "2"]) == [(long, [long + "1", long + "2"])]
    assert collisions(["a", "b", "A"]) == []
    assert collisions(["a", "a"]) == [("a", ["a", "a"])]
    assert collisions([]) == []
