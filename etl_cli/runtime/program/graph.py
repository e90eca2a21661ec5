"""The graph of a run's steps, and what may run next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from etl_cli.runtime.errors import ConfigError

State = Literal["queued", "running", "succeeded", "skipped", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"succeeded", "skipped", "failed", "cancelled"})
DONE: frozenset[State] = frozenset({"succeeded", "skipped"})
"""What a step needs of those before it: one that `when` has left out counts as done, with no result."""


@dataclass(frozen=True)
class Node:
    """A step by its name, the steps it comes after, and those whose results it takes."""

    name: str
    after: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """All that must be done before it."""
        return frozenset(self.after) | frozenset(self.takes)


@dataclass(frozen=True)
class Graph:
    """Steps in an order in which each comes after what it needs; ties as they were declared."""

    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Graph:
        """Raises ConfigError for a name that stands twice or nowhere, and for a cycle."""
        names = [node.name for node in nodes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two steps are named {', '.join(twice)}", "give each a name of its own")
        for node in nodes:
            unknown = sorted(node.needs - set(names))
            if unknown:
                raise ConfigError(
                    f"step {node.name} comes after {', '.join(unknown)}, which is no step",
                    f"the steps are {', '.join(names)}",
                )
        try:
            sorter = TopologicalSorter({node.name: node.needs for node in nodes})
            sorter.prepare()
        except CycleError as error:
            raise ConfigError(
                f"steps wait for each other: {' -> '.join(reversed(error.args[1]))}", "take one `after` out"
            ) from None
        by_name = {node.name: node for node in nodes}
        ordered: list[Node] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=names.index)
            ordered += [by_name[name] for name in ready]
            sorter.done(*ready)
        return cls(tuple(ordered))

    def before(self, name: str) -> frozenset[str]:
        """Every step that must be done before one, however far."""
        needs = {node.name: node.needs for node in self.nodes}
        found: set[str] = set()
        waiting = list(needs[name])
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += needs[one]
        return frozenset(found)

    def from_(self, name: str) -> frozenset[str]:
        """A step and every step that comes after it, however far."""
        return frozenset({name}) | {node.name for node in self.nodes if name in self.before(node.name)}


@dataclass
class Walk:
    """The steps of one run, with their states. `states` may hold those that an earlier attempt has done."""

    graph: Graph
    fail_fast: bool
    at_once: int
    states: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states = {node.name: self.states.get(node.name, "queued") for node in self.graph.nodes}

    def ready(self) -> list[str]:
        """What may be started now, in the order of the graph."""
        if self.is_stopping:
            return []
        room = self.at_once - sum(state == "running" for state in self.states.values())
        may = [n.name for n in self.graph.nodes if self.states[n.name] == "queued" and self._all_done(n.needs)]
        return may[: max(0, room)]

    def start(self, name: str) -> None:
        """queued -> running."""
        self.states[name] = "running"

    def end(self, name: str, state: State) -> list[str]:
        """running -> an end; the steps that never run because of it: they are cancelled."""
        self.states[name] = state
        if state in DONE:
            return []
        hopeless = self.graph.from_(name) if not self.fail_fast else frozenset(self.states)
        lost = [n.name for n in self.graph.nodes if n.name in hopeless and self.states[n.name] == "queued"]
        self.states.update(dict.fromkeys(lost, "cancelled"))
        return lost

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is started: something failed, and fail_fast says so."""
        return self.fail_fast and any(state in ("failed", "cancelled") for state in self.states.values())

    @property
    def is_over(self) -> bool:
        """Whether every step has ended."""
        return all(state in ENDED for state in self.states.values())

    @property
    def outcome(self) -> Literal["succeeded", "failed", "cancelled"]:
        """Of the run."""
        if any(state == "failed" for state in self.states.values()):
            return "failed"
        return "cancelled" if any(state == "cancelled" for state in self.states.values()) else "succeeded"

    def _all_done(self, names: Iterable[str]) -> bool:
        return all(self.states[name] in DONE for name in names)


def missing_parameters(
    takes: Mapping[str, Sequence[str]],
    steps: Iterable[str],
    given: Iterable[str],
    own: Iterable[str] = ("run", "params"),
) -> list[str]:
    """A line for each parameter of a step that nothing gives: no step, no parameter of the run."""
    known = {*steps, *given, *own}
    return [
        f"step {step} takes {name}, which is no step and no parameter of the run"
        for step, names in takes.items()
        for name in names
        if name not in known
    ]
