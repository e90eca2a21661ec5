"""Which errors of the sink a chunk is tried again after."""

from __future__ import annotations

import pytest

from etl_cli.runtime.errors import SinkError
from etl_cli.runtime.ledger.chunks import ChunkTakenError, SupersededError, is_transient


@pytest.mark.parametrize(
    "state",
    [
        None,  # the connection is gone: Postgres had no time to say why
        "08006",  # connection failure
        "40001",  # serialization failure
        "40P01",  # deadlock
        "53300",  # too many connections
        "55P03",  # lock not available
        "57P01",  # the server shuts down
        "58030",  # I/O error
    ],
)
def test_what_may_pass_is_tried_again(state: str | None) -> None:
    assert is_transient(SinkError("it broke", sqlstate=state))


@pytest.mark.parametrize("state", ["23505", "42501", "42P01", "22001", "0A000"])
def test_what_will_not_pass_is_not(state: str) -> None:
    assert not is_transient(SinkError("it broke", sqlstate=state))


def test_an_attempt_that_came_too_late_does_not_try_again() -> None:
    assert not is_transient(SupersededError("a later attempt has begun"))


def test_a_chunk_whose_answer_was_lost_is_no_failure() -> None:
    """Another try asks the ledger, and goes on after it."""
    assert is_transient(ChunkTakenError("another attempt has committed it", sqlstate="23505"))
