"""Whether a run goes on where an earlier one stopped: only where it would read and write the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl_cli.runtime.ledger.ledger import PastRun
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.resumption import Beginning, beginning
from tests.support.plans import config_of

RESUME = Request(resume=True)
INTERRUPTED = PastRun(7, "interrupted", 1, "print", False, True, 60.0)
FAILED = replace(INTERRUPTED, state="failed")


def begun(last: PastRun | None, request: Request = RESUME, fingerprint: str = "print", **config: Any) -> Beginning:
    return beginning(config_of("dbo.orders", **config), request, fingerprint, last)


def test_an_interrupted_run_is_resumed_as_another_attempt_of_it() -> None:
    assert begun(INTERRUPTED) == Beginning("resume", INTERRUPTED, "goes on where attempt 1 stopped")
    again = replace(INTERRUPTED, attempt=4)
    assert begun(again) == Beginning("resume", again, "goes on where attempt 4 stopped")


def test_a_failed_run_is_retried_by_a_run_of_its_own() -> None:
    assert begun(FAILED) == Beginning("retry", FAILED, "goes on where run 7 failed")


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (None, "no whole run was stopped"),
        (replace(INTERRUPTED, state="succeeded"), "run 7 succeeded"),
        (replace(INTERRUPTED, state="running"), "run 7 running"),
        (replace(INTERRUPTED, partial=True), "no whole run was stopped"),
        (replace(FAILED, partial=True), "no whole run was stopped"),
    ],
)
def test_what_was_not_stopped_is_not_resumed(last: PastRun | None, told: str) -> None:
    assert begun(last) == Beginning("anew", note=f"nothing to resume: {told}; this run starts anew")


@pytest.mark.parametrize("last", [INTERRUPTED, FAILED])
def test_a_run_is_resumed_only_with_its_own_fingerprint(last: PastRun) -> None:
    """Trap 20."""
    begins = begun(last, fingerprint="another")
    assert (begins.how, begins.of) == ("anew", None)
    assert begins.note == (
        "run 7 cannot be resumed: its configuration or the source's tables have changed since; this run starts anew"
    )
    assert begun(replace(last, fingerprint=None)).how == "anew"


@pytest.mark.parametrize("last", [INTERRUPTED, FAILED])
def test_a_run_is_resumed_in_time(last: PastRun) -> None:
    """Its shadows are kept so long, and no longer."""
    assert begun(replace(last, age_s=7200.0), resume_within="2h").how != "anew"
    late = begun(replace(last, age_s=7200.1), resume_within="2h")
    assert (late.how, late.note) == (
        "anew",
        "run 7 cannot be resumed: it ended more than 2h ago; this run starts anew",
    )


def test_nothing_resumes_for_ever() -> None:
    assert begun(replace(INTERRUPTED, attempt=9, barren=2), max_resumptions=2).how == "resume"
    often = begun(replace(INTERRUPTED, attempt=9, barren=3), max_resumptions=2)
    assert (often.how, often.note) == (
        "anew",
        "run 7 cannot be resumed: 3 of its attempts have committed nothing (max_resumptions: 2); this run starts anew",
    )
    assert begun(INTERRUPTED, max_resumptions=0).how == "anew"


def test_a_run_that_was_not_asked_to_go_on_begins_anew_and_says_what_it_could_have_done() -> None:
    told = "run 7 was interrupted; `--resume` would have continued it"
    assert begun(INTERRUPTED, EVERYTHING) == Beginning("anew", note=told)


@pytest.mark.parametrize(
    ("last", "fingerprint"),
    [
        (None, "print"),
        (FAILED, "print"),
        (replace(INTERRUPTED, state="succeeded"), "print"),
        (replace(INTERRUPTED, partial=True), "print"),
        (INTERRUPTED, "another"),
    ],
)
def test_a_run_says_nothing_of_what_could_not_be_continued(last: PastRun | None, fingerprint: str) -> None:
    assert begun(last, EVERYTHING, fingerprint) == Beginning("anew")
