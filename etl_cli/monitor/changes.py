"""What changed since the last look, and what is told of it; pure.

`dead`, `stalled` and `late` are told when a pipeline comes into them, their end when it is ok or at work again.
`failing` is not: the service itself tells of a run that failed, and of the next good one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from etl_cli.runtime.alerts import Reason
from etl_cli.runtime.health import STATES, State

REASONS: dict[State, Reason] = {"dead": "dead", "stalled": "stalled", "late": "missed"}

Outcome = Literal["told", "unwanted", "refused"]
"""Somebody took the alert; nobody wants it; it is owed, and tried again at the next look."""


@dataclass(frozen=True)
class Remembered:
    """A pipeline at the last look: `since` when it is in that state, `told` whether an illness was told and not yet
    its end, `owed` whether what should have been told was not taken by anybody.
    """

    state: State
    since: datetime
    told: bool = False
    owed: bool = False


@dataclass(frozen=True)
class Change:
    """What a look comes to: what to remember once it was told, and whom to tell what."""

    before: State | None
    after: Remembered
    reason: Reason | None

    @property
    def is_new(self) -> bool:
        """Whether the state is another one than at the last look."""
        return self.before != self.after.state


def change(before: Remembered | None, state: State, now: datetime) -> Change:
    """From the last look to this one; None before the first."""
    is_new = before is None or before.state != state
    since = now if before is None or is_new else before.since
    told = before is not None and before.told
    owed = before is not None and before.owed and not is_new
    reason: Reason | None = None
    if state in REASONS and (is_new or owed):
        reason = REASONS[state]
    elif state in ("ok", "running") and told:
        reason = "recovery"
    after = Remembered(state, since, told=told, owed=reason is not None)
    return Change(before.state if before else None, after, reason)


def after_telling(made: Change, outcome: Outcome) -> Remembered:
    """What to remember when it was tried to tell it."""
    if outcome == "refused":
        return made.after
    told = made.reason != "recovery" and (made.after.told or outcome == "told")
    return replace(made.after, told=told, owed=False)


def is_summary_due(last: datetime | None, now: datetime) -> bool:
    """Once in every hour of the clock."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    return last is None or last < hour


def summary(states: Sequence[tuple[str, State]]) -> str:
    """`40 pipelines: 38 ok, 1 running, 1 dead (orders)`."""
    counts = Counter(state for _, state in states)
    parts = []
    for state in STATES:
        if counts[state]:
            named = ", ".join(name for name, its in states if its == state)
            parts.append(f"{counts[state]} {state}" + (f" ({named})" if state not in ("ok", "running") else ""))
    return f"{len(states)} pipeline{'' if len(states) == 1 else 's'}: {', '.join(parts) or 'none'}"
