"""Where the rows of an own source go: the target or a shadow, made and evolved as columns come to be known.

Members work at the same time and each may bring a column: one after the other they bring the table into form.
"""

from __future__ import annotations

import psycopg

from etl_cli.runtime.errors import PlanError
from etl_cli.runtime.loading import Loading, exact
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.program.sources import Source
from etl_cli.runtime.program.types import canonical_type
from etl_cli.runtime.sink.apply import decide
from etl_cli.runtime.sink.connect import SinkConnection, translate
from etl_cli.runtime.sink.destination import Destination
from etl_cli.runtime.sink.evolve import discarded, is_wider
from etl_cli.runtime.sink.prepare import prepare_target
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.shadow import Shadow, create_shadow
from etl_cli.runtime.sink.target import read_target

_LOCK_CLASS = 0x657471
"""First key of the advisory locks under which a table is brought into form."""


def types_there(connection: SinkConnection, shadow: Shadow | None, target: tuple[str, str]) -> dict[str, str]:
    """The types of the columns that the shadow or the target has, as far as rows of etl.py can have them."""
    place = (shadow.schema, shadow.name) if shadow is not None else target
    there = read_target(connection, *place) or read_target(connection, *target)
    found = {}
    for column in there.columns if there is not None else ():
        try:
            found[column.name] = canonical_type(column.type)
        except ValueError:
            continue  # what the values tell is converted by Postgres, or refused
    return found


def prepare_place(
    connection: SinkConnection, source: Source, plan: TablePlan, shadow: Shadow | None
) -> tuple[TablePlan, Destination]:
    """The plan as the contract leaves it, and where its rows are copied to. Raises PlanError, SinkError."""
    table = Shadow(plan.target_schema, plan.target_name)
    if not source.to_sink:
        return plan, Destination("none", table)
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, table.quoted])
            target = read_target(connection, plan.target_schema, plan.target_name)
            plan = discarded(plan, target) if target is not None else plan
            problem = decide(plan, target).problem
            if problem:
                raise PlanError(problem)
            if shadow is not None:
                _prepare_shadow(connection, plan, shadow)
                return plan, Destination("shadow", shadow)
            target = prepare_target(connection, plan)
    except psycopg.Error as error:
        raise translate(error, f"preparing {plan.target}") from error
    if plan.mode == "upsert":
        return plan, Destination("merge", table, target)
    how = exact(Loading("insert" if plan.key else "append", plan), target).how
    return plan, Destination(how, table, target)


def _prepare_shadow(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> None:
    there = read_target(connection, shadow.schema, shadow.name)
    if there is None:
        create_shadow(connection, plan, shadow)
        return
    present = {column.name: column.type for column in there.columns}
    for name, kind in plan.target_columns.items():
        if name not in present:
            execute(connection, f"ALTER TABLE {shadow.quoted} ADD COLUMN {quote_sink(name)} {kind}")
        elif present[name] != kind and not is_wider(present[name], kind):
            if not is_wider(kind, present[name]):
                raise PlanError(
                    f"{plan.source}: column {name} is {present[name]} in one member and {kind} in another",
                    f'declare it: columns={{"{name}": ...}}',
                )
            execute(connection, f"ALTER TABLE {shadow.quoted} ALTER COLUMN {quote_sink(name)} TYPE {kind}")
