"""Declarations of an etl.py, as data: filled by the decorators of `Pipeline`. Imports no Arrow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from etl_cli.runtime.config.units import parse_duration
from etl_cli.runtime.errors import ConfigError
from etl_cli.runtime.names import split_name
from etl_cli.runtime.program.arguments import parameters_of
from etl_cli.runtime.program.graph import Graph, Node, missing_parameters
from etl_cli.runtime.program.sources import OF_SOURCE, Source, Writer

Kind = Literal["transform", "map", "filter", "model"]
Frame = Literal["arrow", "polars", "pandas"]


@dataclass(frozen=True)
class Change:
    """A step on the way of a table's rows.

    `transform` takes and gives a batch, `map` a row, `filter` says of a row whether it stays, `model` checks rows
    with a pydantic class. `columns` are those that a map adds (name -> Postgres type; None = it takes one away), `key`
    is the target's where it is not the source's any more.
    """

    kind: Kind
    table: str
    name: str
    function: Callable[..., Any]
    as_: Frame = "arrow"
    columns: Mapping[str, str | None] = field(default_factory=dict)
    key: Sequence[str] = ()
    model: Any = None


COPY = "copy"
"""The step that copies all tables that no other copy step names."""


@dataclass(frozen=True)
class Step:
    """A node of a run's graph: a Python function, a file of SQL, a copy of `tables`, or the own source of that name.

    `takes` are the parameters of the function (and of `when`) beside `run`: steps, whose results they are given, and
    parameters of the run; those in `optional` may be missing. Seconds for the times; `timeout_s` None = no limit.
    """

    name: str
    kind: Literal["python", "sql", "copy", "extract"]
    after: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None
    file: str = ""
    tables: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    retries: int = 0
    retry_delay_s: float = 5.0
    timeout_s: float | None = None
    when: Callable[..., Any] | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    model: Any = None


@dataclass
class Declared:
    """All that an etl.py declares."""

    changes: list[Change] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    hooks: dict[str, list[Callable[..., Any]]] = field(default_factory=dict)
    """By the name of the hook."""
    sources: dict[str, Source] = field(default_factory=dict)
    """Own sources by their names, which are those of their steps."""
    writers: list[Writer] = field(default_factory=list)
    has_tables: bool = True
    """Whether config.yaml names tables to copy."""

    def all_steps(self) -> list[Step]:
        """The declared ones, and the copy of the tables before them, unless that is declared itself."""
        if any(step.name == COPY for step in self.steps) or (self.steps and not self.has_tables):
            return self.steps
        return [Step(COPY, "copy"), *self.steps]

    def graph(self) -> Graph:
        """The steps in their order. Raises ConfigError."""
        steps = self.all_steps()
        names = {step.name for step in steps}
        return Graph.of([Node(s.name, s.after, tuple(n for n in s.takes if n in names)) for s in steps])

    def tables_of(self, step: Step, sources: Sequence[str]) -> list[str]:
        """Those of the source tables that a copy step copies: those that it names, else those that no other names."""
        others = {_folded(name) for other in self.all_steps() if other is not step for name in other.tables}
        if not step.tables:
            return [source for source in sources if _folded(source) not in others]
        named = {_folded(name) for name in step.tables}
        return [source for source in sources if _folded(source) in named]

    def add(self, change: Change) -> None:
        """Raises ConfigError for a function that does not take what it will be given."""
        if change.kind != "model":
            _refuse_signature(change)
        self.changes.append(change)

    def add_step(self, step: Step) -> None:
        """Raises ConfigError for a name that another step has."""
        if any(other.name == step.name for other in self.steps):
            raise ConfigError(f"two steps are named {step.name}", "give each a name of its own")
        self.steps.append(step)

    def source(self, name: str) -> Source:
        """An own source. Raises ConfigError where etl.py does not declare it any more."""
        if name not in self.sources:
            listed = ", ".join(self.sources) or "none"
            raise ConfigError(f"etl.py declares no source {name}", f"its sources are {listed}")
        return self.sources[name]

    def writers_of(self, source: str) -> list[Writer]:
        """The own writers that take a table's rows, or an own source's."""
        return [writer for writer in self.writers if _folded(writer.table) == _folded(source)]

    def add_source(self, source: Source, *, after: Sequence[str], timeout: str | float | None) -> None:
        """A source, and the step that runs it. Raises ConfigError."""
        takes, optional = parameters_of(source.function)
        asked = parameters_of(source.fan_out)[0] if callable(source.fan_out) else ()
        named = (source.fan_out,) if isinstance(source.fan_out, str) else ()
        self.add_step(
            Step(
                source.name,
                "extract",
                tuple(dict.fromkeys((*after, *named))),
                source.function,
                takes=tuple(name for name in dict.fromkeys((*takes, *asked)) if name not in OF_SOURCE),
                optional=optional,
                timeout_s=None if timeout is None else _seconds(source.name, "timeout", timeout),
                description=(inspect.getdoc(source.function) or "").partition("\n")[0],
            )
        )
        self.sources[source.name] = source

    def of_table(self, source: str) -> list[Change]:
        """The changes of a source table, in the order of their declaration."""
        wanted = _folded(source)
        return [change for change in self.changes if _folded(change.table) == wanted]

    def problems(self, sources: Sequence[str], params: Sequence[Mapping[str, Any]]) -> list[str]:
        """A line for each thing that cannot be: in the graph, of tables that are not copied, of parameters.

        `params` are those of each kind of run that there is: the schedule's entries may give other ones.
        """
        try:
            graph = self.graph()
        except ConfigError as error:
            return [str(error), *self.unknown_tables(sources), *self._unknown_members()]
        takes = {step.name: [n for n in step.takes if n not in step.optional] for step in self.all_steps()}
        names = [node.name for node in graph.nodes]
        given = {name for one in params for name in one}
        wrong = [line for step in self.steps for one in params for line in _not_fitting(step, one)]
        missing = missing_parameters(takes, names, given)
        return self.unknown_tables(sources) + self._unknown_members() + missing + list(dict.fromkeys(wrong))

    def _unknown_members(self) -> list[str]:
        """A line for each fan_out that names no step before its source."""
        return [
            f'@pipeline.extract("{s.name}"): fan_out names {s.fan_out}, which is no step'
            for s in self.sources.values()
            if isinstance(s.fan_out, str) and all(step.name != s.fan_out for step in self.steps)
        ]

    def unknown_tables(self, sources: Sequence[str]) -> list[str]:
        """A line for each table that a change or a copy step names, and that is not copied."""
        sources = [*sources, *self.sources]
        known = {_folded(source) for source in sources}
        copies = [
            f'pipeline.copy("{step.name}"): {table} is not copied: the tables are {", ".join(sources) or "none"}'
            for step in self.steps
            for table in step.tables
            if _folded(table) not in known
        ]
        return (
            copies
            + [
                f'@pipeline.{change.kind}("{change.table}") of {change.name}: no such table is copied: '
                f"the tables are {', '.join(sources) or 'none'}"
                for change in self.changes
                if _folded(change.table) not in known
            ]
            + [
                f'@pipeline.load("{writer.table}") of {writer.name}: no such table is copied: '
                f"the tables are {', '.join(sources) or 'none'}"
                for writer in self.writers
                if _folded(writer.table) not in known
            ]
        )


def _not_fitting(step: Step, params: Mapping[str, Any]) -> list[str]:
    """What a step's model says against parameters."""
    if step.model is None:
        return []
    from pydantic import ValidationError

    try:
        step.model.model_validate(dict(params))
    except ValidationError as error:
        return [
            f"step {step.name}: parameter {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
        ]
    return []


def python_step(
    function: Callable[..., Any],
    *,
    after: Sequence[str],
    retries: int,
    retry_delay: str | float,
    timeout: str | float | None,
    when: Callable[..., Any] | None,
    description: str,
    tags: Sequence[str],
    model: Any,
) -> Step:
    """A step of a function. Raises ConfigError for a duration that is none, and for *arguments."""
    name = getattr(function, "__name__", "step")
    takes, optional = parameters_of(function)
    asked, _ = parameters_of(when)
    return Step(
        name,
        "python",
        tuple(after),
        function,
        takes=tuple(dict.fromkeys((*takes, *asked))),
        optional=optional,
        retries=retries,
        retry_delay_s=_seconds(name, "retry_delay", retry_delay),
        timeout_s=None if timeout is None else _seconds(name, "timeout", timeout),
        when=when,
        description=description or (inspect.getdoc(function) or "").partition("\n")[0],
        tags=tuple(tags),
        model=model,
    )


def sql_step(
    directory: Path,
    file: str,
    *,
    name: str | None,
    after: Sequence[str],
    retries: int,
    retry_delay: str | float,
    timeout: str | float | None,
) -> Step:
    """A step of a file. Raises ConfigError for one that is not there."""
    place = directory / "sql" / file
    if not place.is_file():
        raise ConfigError(f'pipeline.sql("{file}"): {place} is not there', "put the file into the pipeline's sql/")
    named = name or Path(file).stem
    return Step(
        named,
        "sql",
        tuple(after),
        file=file,
        retries=retries,
        retry_delay_s=_seconds(named, "retry_delay", retry_delay),
        timeout_s=None if timeout is None else _seconds(named, "timeout", timeout),
    )


def _seconds(step: str, what: str, given: str | float) -> float:
    try:
        return parse_duration(given)
    except ValueError as error:
        raise ConfigError(f"step {step}: {what}: {error}") from None


def _folded(source: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in split_name(source))


def _refuse_signature(change: Change) -> None:
    try:
        inspect.signature(change.function).bind(object())
    except TypeError:
        given = "a batch" if change.kind == "transform" else "a row"
        raise ConfigError(
            f'@pipeline.{change.kind}("{change.table}"): {change.name}{inspect.signature(change.function)} cannot be '
            f"called with {given} alone",
            f"declare it as def {change.name}({given.split()[1]})",
        ) from None
    except ValueError:
        return  # a built-in that does not tell
