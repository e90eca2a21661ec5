"""Brings a target into form for rows that become visible chunk by chunk: made, or evolved."""

from __future__ import annotations

from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink import ddl
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.publish import evolve
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.target import Target, read_target


def prepare_target(connection: SinkConnection, plan: TablePlan) -> Target:
    """The target with the columns and the key of the plan, within the open transaction. Raises psycopg.Error."""
    target = read_target(connection, plan.target_schema, plan.target_name)
    if target is None:
        execute(connection, ddl.create_table(plan, plan.target_schema, plan.target_name))
        key = ddl.add_key(plan, plan.target_schema, plan.target_name, ddl.key_name(plan))
        for statement in [*([key] if key else []), *ddl.comments(plan, plan.target_schema, plan.target_name)]:
            execute(connection, statement)
        target = read_target(connection, plan.target_schema, plan.target_name)
        assert target is not None
    return evolve(connection, plan, target)
