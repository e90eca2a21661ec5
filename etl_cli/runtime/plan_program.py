"""What etl.py adds to a plan: changes of rows, own sources, parameters; and what of it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import EtlError
from etl_cli.runtime.plan import Plan, TablePlan
from etl_cli.runtime.planner import shared_targets
from etl_cli.runtime.program.declared import Change, Declared
from etl_cli.runtime.program.importing import declared_in
from etl_cli.runtime.request import EVERYTHING, Request


def declared_of(config: Config) -> Declared:
    """What the pipeline's etl.py declares; nothing for a configuration that was made in a program.

    Raises ConfigError where it cannot be imported.
    """
    declared = declared_in(config.directory) if config.directory is not None else Declared()
    return replace(declared, has_tables=bool(config.tables))


def with_changes(config: Config, plan: Plan, problems: list[str], request: Request = EVERYTHING) -> Plan:
    """The tables as etl.py makes them; what cannot be is a problem."""
    if config.directory is None:
        return plan
    try:
        declared = declared_of(config)
    except EtlError as error:
        problems.append(str(error))
        return plan
    if not request.tables:
        problems += problems_of_program(config, declared, plan.tables, request)
    else:
        problems += shared_by_sources(config, declared, plan.tables)
    tables = []
    for table in plan.tables:
        changes = declared.of_table(table.source)
        try:
            tables.append(changed_by(changes, table) if changes else table)
        except EtlError as error:
            problems.append(str(error))
    return replace(plan, tables=tuple(tables))


def problems_of_program(
    config: Config, declared: Declared, tables: Sequence[TablePlan], request: Request = EVERYTHING
) -> list[str]:
    """A line for each thing in etl.py that cannot be."""
    sources = [table.source for table in tables]
    return declared.problems(sources, params_of_runs(config, request)) + shared_by_sources(config, declared, tables)


def targets_of_sources(config: Config, declared: Declared) -> dict[str, str]:
    """Which table each own source writes, by the source's name."""
    schema = config.sink.schema_
    return {s.name: ".".join(s.target_name(schema)) for s in declared.sources.values() if s.to_sink}


def shared_by_sources(config: Config, declared: Declared, tables: Sequence[TablePlan]) -> list[str]:
    """A line for each target of an own source that something else of the pipeline writes as well."""
    own = []
    for name, target in targets_of_sources(config, declared).items():
        own.append((target, f'@pipeline.extract("{name}")'))
        if declared.source(name).track_changes:
            own.append((f"{target}_changes", f'the changes of @pipeline.extract("{name}")'))
    targets = {target for target, _ in own}
    return shared_targets([*own, *((table.target, table.source) for table in tables if table.target in targets)])


def params_of_runs(config: Config, request: Request) -> list[dict[str, Any]]:
    """The parameters of each kind of run that there is: the schedule's entries may give other ones."""
    entries = [] if config.schedule is None or isinstance(config.schedule, str) else config.schedule
    given = {**config.params, **request.params}
    return [{**given, **entry.params} for entry in entries] or [given]


def strange_params(config: Config, declared: Declared, request: Request) -> list[str]:
    """A note for each parameter that was given and that nothing names: a typing error, as a rule."""
    known = {name for one in params_of_runs(config, Request()) for name in one}
    known |= {name for step in declared.all_steps() for name in step.takes}
    known |= {name for step in declared.steps for name in getattr(step.model, "model_fields", ())}
    return [
        f"parameter {name}: no step takes it, and config.yaml does not name it"
        for name in request.params
        if name not in known
    ]


def changed_by(changes: Sequence[Change], table: TablePlan) -> TablePlan:
    """The table with the columns that come out of the changes; Arrow is imported only where there are some."""
    from etl_cli.runtime.program.shapes import changed

    return changed(table, changes)
