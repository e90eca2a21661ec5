"""Passwords are taken out of whatever is shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.config import Config
from etl_cli.runtime.redact import MASK, redact, secrets_in
from tests.support.plans import config_data


def test_every_secret_of_a_configuration_is_found_however_deep() -> None:
    data = config_data(alerts={"urls": ["slack://token"]})
    data["source"]["shards"][1]["password"] = "shard-secret"
    assert secrets_in(Config.model_validate(data)) == {"source-secret", "sink-secret", "shard-secret", "slack://token"}


def test_a_password_that_is_not_set_masks_nothing() -> None:
    data = config_data()
    data["source"]["password"] = ""
    data["sink"]["password"] = None
    assert secrets_in(Config.model_validate(data)) == set()


def test_a_secret_among_the_options_is_found() -> None:
    data = config_data()
    data["source"]["options"] = {"PWD": "option-secret"}
    data["sink"]["options"] = {"sslpassword": "key-secret"}
    assert {"option-secret", "key-secret"} <= secrets_in(Config.model_validate(data))


@pytest.mark.parametrize(
    "text",
    [
        "login failed: PWD={a}}b'c};",
        "password='a}b''c'",
        "a}b'c",
        "a}b'ca}b'c",
    ],
)
def test_a_secret_is_masked_as_a_driver_spells_it(text: str) -> None:
    shown = redact(text, {"a}b'c"})
    assert MASK in shown
    assert "b'" not in shown


def test_a_longer_secret_goes_before_one_that_it_holds() -> None:
    assert redact("pass password", {"pass", "password"}) == f"{MASK} {MASK}"


def test_text_without_a_secret_is_left_alone() -> None:
    assert redact("nothing to hide", {"secret"}) == "nothing to hide"
    assert redact("nothing to hide", set()) == "nothing to hide"


@given(st.text(min_size=1).filter(lambda s: "*" not in s), st.text(), st.text())
def test_no_secret_is_left_in_a_text(secret: str, before: str, after: str) -> None:
    shown = redact(f"{before}{secret}{after}", {secret})
    assert secret not in shown or secret in MASK


@pytest.mark.parametrize("spell", [repr, json.dumps])
def test_a_secret_is_masked_in_a_repr_and_in_json(spell: object) -> None:
    assert callable(spell)
    secret = 'pa\\ss"wörd'
    assert redact(spell({"key": secret}), {secret}) == spell({"key": MASK})
