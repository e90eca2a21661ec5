"""References to variables in config.yaml."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.config.interpolate import UnsetVariableError, interpolate

SET = {"NAME": "value", "EMPTY": "", "OTHER_2": "two", "DOLLAR": "a$b${NAME}$$"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${NAME}", "value"),
        ("a-${NAME}-${OTHER_2}-b", "a-value-two-b"),
        ("${EMPTY}", ""),
        ("${UNSET:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-default}", "value"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b?c}", "a:-b?c"),
        ("${NAME:?is needed}", "value"),
        ("$$", "$"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$value"),
        ("$$$$", "$$"),
        ("$NAME costs $5", "$NAME costs $5"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_each_form_means_what_it_means_in_a_shell(text: str, result: str) -> None:
    assert interpolate(text, SET) == result


def test_a_value_is_not_interpolated_again() -> None:
    assert interpolate("${DOLLAR}", SET) == "a$b${NAME}$$"


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(UnsetVariableError, match=r"variable UNSET is not set; set it in \.env"):
        interpolate("x ${UNSET} y", SET)


@pytest.mark.parametrize("name", ["UNSET", "EMPTY"])
def test_a_demanded_variable_refuses_with_its_message(name: str) -> None:
    with pytest.raises(UnsetVariableError, match=f"variable {name} is not set: ask the DBA"):
        interpolate(f"${{{name}:?ask the DBA}}", SET)


def test_a_demanded_variable_without_message_names_the_remedy() -> None:
    with pytest.raises(UnsetVariableError, match=r"variable UNSET is not set: set it in \.env"):
        interpolate("${UNSET:?}", SET)


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A-b}", "${A:b}", "${A B}", "${A:-b", "${ä}"])
def test_what_is_no_reference_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"write \$\$\{ for a plain one"):
        interpolate(text, SET)


@given(st.text())
def test_text_with_doubled_dollars_arrives_as_it_was(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == text


@given(st.text())
def test_a_value_arrives_as_it_is(value: str) -> None:
    assert interpolate("<${NAME}>", {"NAME": value}) == f"<{value}>"
