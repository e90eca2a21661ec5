"""The graph of steps: its order, and how a walk through it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.program.graph import Graph, Node, State, Walk, missing_parameters


def graph(**after: str) -> Graph:
    """`graph(a="", b="a", c="a b")`."""
    return Graph.of([Node(name, tuple(needs.split())) for name, needs in after.items()])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    names = [f"s{number}" for number in range(count)]
    nodes = [
        Node(name, tuple(draw(st.sets(st.sampled_from(names[:number]), max_size=4))) if number else ())
        for number, name in enumerate(names)
    ]
    return Graph.of(draw(st.permutations(nodes)))


def model(made: Graph, bad: set[str], *, fail_fast: bool) -> dict[str, State]:
    """What a walk one step at a time must come to."""
    states: dict[str, State] = {}
    for node in made.nodes:
        stopped = fail_fast and any(state != "succeeded" for state in states.values())
        if stopped or any(states[name] != "succeeded" for name in node.needs):
            states[node.name] = "cancelled"
        else:
            states[node.name] = "failed" if node.name in bad else "succeeded"
    return states


@given(graphs(), st.data(), st.booleans(), st.integers(1, 4))
def test_a_walk_keeps_the_order_runs_nothing_twice_and_ends_as_the_model_says(
    made: Graph, data: st.DataObject, fail_fast: bool, at_once: int
) -> None:
    names = [node.name for node in made.nodes]
    bad = data.draw(st.sets(st.sampled_from(names)))
    walk = Walk(made, fail_fast, at_once)
    began: list[str] = []
    running: list[str] = []
    succeeded: set[str] = set()
    while not walk.is_over:
        for name in walk.ready():
            assert {*next(n for n in made.nodes if n.name == name).needs} <= succeeded
            walk.start(name)
            began.append(name)
            running.append(name)
        assert running, "nothing runs, nothing has ended"
        assert len(running) <= at_once
        name = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if name not in bad:
            succeeded.add(name)
        walk.end(name, "failed" if name in bad else "succeeded")
    assert len(began) == len(set(began))
    assert walk.outcome == ("failed" if bad & set(began) else "succeeded")
    if not fail_fast or at_once == 1:
        assert walk.states == model(made, bad, fail_fast=fail_fast)


@given(graphs(), st.data())
def test_a_walk_that_goes_on_runs_nothing_that_has_succeeded(made: Graph, data: st.DataObject) -> None:
    names = [node.name for node in made.nodes]
    done = data.draw(st.sets(st.sampled_from(names)))
    closed = {name for name in done if made.before(name) <= done}
    walk = Walk(made, True, 1, dict.fromkeys(closed, "succeeded"))
    began = []
    while not walk.is_over:
        (name,) = walk.ready()
        walk.start(name)
        began.append(name)
        walk.end(name, "succeeded")
    assert sorted(began) == sorted(set(names) - closed)


@given(graphs(), st.data())
def test_what_comes_after_a_step_is_what_it_comes_before(made: Graph, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([node.name for node in made.nodes]))
    assert {other for other in made.from_(name) if other != name} == {
        node.name for node in made.nodes if name in made.before(node.name)
    }


def test_a_step_that_was_left_out_counts_as_done() -> None:
    walk = Walk(graph(a="", b="a"), True, 1)
    walk.start("a")
    assert walk.end("a", "skipped") == []
    assert walk.ready() == ["b"]


def test_independent_branches_go_on_where_fail_fast_is_off() -> None:
    walk = Walk(graph(a="", b="a", c="", d="c"), False, 2)
    for name in walk.ready():
        walk.start(name)
    assert walk.end("a", "failed") == ["b"]
    walk.end("c", "succeeded")
    assert walk.ready() == ["d"]
    walk.start("d")
    walk.end("d", "succeeded")
    assert (walk.outcome, walk.states["b"]) == ("failed", "cancelled")


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([Node("a", ("b",)), Node("b", ("a",))], "wait for each other: "),
        ([Node("a", ("a",))], "wait for each other: a -> a"),
        ([Node("a", ("copy",))], "step a comes after copy, which is no step"),
        ([Node("a"), Node("a")], "two steps are named a"),
    ],
)
def test_what_is_no_graph_is_told(nodes: list[Node], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Graph.of(nodes)


def test_a_parameter_that_nothing_gives_is_told() -> None:
    assert missing_parameters({"report": ["run", "copy", "day", "other"]}, ["copy", "report"], ["day"]) == [
        "step report takes other, which is no step and no parameter of the run"
    ]
