"""Measures commands in turn, and prints each beside one of them as ratios of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Measure = Callable[[Sequence[str]], Any]


def interleaved(
    commands: Mapping[str, Sequence[str]],
    measure: Measure,
    settle: Callable[[], None],
    pairs: int,
    before: Mapping[str, Callable[[], None]] | None = None,
) -> dict[str, list[Any]]:
    """What `measure` gives for each command, `pairs` times in turn; a first time makes the targets and does not count.

    `before` has what is done ahead of a command, `settle` what is done ahead of each.
    """
    for command in commands.values():
        measure(command)
    measured: dict[str, list[Any]] = {name: [] for name in commands}
    for _ in range(pairs):
        for name, command in commands.items():
            (before or {}).get(name, lambda: None)()
            settle()
            measured[name].append(measure(command))
    return measured


def print_ratios(measured: Mapping[str, Sequence[Any]], base: str, told: Callable[[Sequence[Any]], str]) -> None:
    """A line for each: median, range, its speed as a share of the base's; `told` adds what else there is to say."""
    for name, mine in measured.items():
        seconds = [one.seconds for one in mine]
        ratios = [one.seconds / other for one, other in zip(measured[base], seconds, strict=True)]
        print(
            f"  {name:12} {statistics.median(seconds):7.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"
            f"  {statistics.median(ratios):5.2f} of {base} ({min(ratios):.2f}-{max(ratios):.2f}){told(mine)}"
        )
