"""Decides whether a run goes on where an earlier one stopped. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.config.units import format_duration
from etl_cli.runtime.ledger.ledger import PastRun
from etl_cli.runtime.request import Request

How = Literal["anew", "resume", "retry"]


@dataclass(frozen=True)
class Beginning:
    """How a run begins, and what to tell about it; `of` is the run that it goes on with."""

    how: How
    of: PastRun | None = None
    note: str | None = None


def beginning(config: Config, request: Request, fingerprint: str, last: PastRun | None) -> Beginning:
    """An interrupted run is resumed as another attempt of it; a failed one is retried by a new run.

    Both only where they would read and write the same: with their own fingerprint, in time, not for ever.
    """
    unfinished = last is not None and last.state in ("interrupted", "failed") and not last.partial
    if not request.resume:
        if last is not None and unfinished and last.state == "interrupted" and last.fingerprint == fingerprint:
            return Beginning("anew", note=f"run {last.run_id} was interrupted; `--resume` would have continued it")
        return Beginning("anew")
    if last is None or not unfinished:
        told = (
            f"run {last.run_id} {last.state}" if last is not None and not last.partial else "no whole run was stopped"
        )
        return Beginning("anew", note=f"nothing to resume: {told}; this run starts anew")
    obstacle = _obstacle(config, fingerprint, last)
    if obstacle:
        return Beginning("anew", note=f"run {last.run_id} cannot be resumed: {obstacle}; this run starts anew")
    if last.state == "failed":
        return Beginning("retry", last, f"goes on where run {last.run_id} failed")
    return Beginning("resume", last, f"goes on where attempt {last.attempt} stopped")


def _obstacle(config: Config, fingerprint: str, last: PastRun) -> str:
    if not last.resumable:
        return "what it had loaded did not pass validation"
    if last.fingerprint != fingerprint:
        return "its configuration or the source's tables have changed since"
    if last.age_s > config.resume_within:
        return f"it ended more than {format_duration(config.resume_within)} ago"
    if config.max_resumptions == 0:
        return "max_resumptions is 0"
    if last.state == "interrupted" and last.barren > config.max_resumptions:
        return f"{last.barren} of its attempts have committed nothing (max_resumptions: {config.max_resumptions})"
    return ""
