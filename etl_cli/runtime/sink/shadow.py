"""The table beside the target into which a replacement is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from etl_cli.runtime.names import quote_sink, quote_text, with_suffix
from etl_cli.runtime.plan import TablePlan
from etl_cli.runtime.sink import ddl
from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import execute
from etl_cli.runtime.sink.target import read_target

INDEX_MEMORY_KB = 262_144
"""`maintenance_work_mem` while indexes are built, where the server's own setting is lower."""


_MARK = "__etl_"


@dataclass(frozen=True)
class Shadow:
    """Where a table of a run is loaded: `schema.name`."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        """The name for SQL."""
        return quote_sink(self.schema, self.name)

    @property
    def key_name(self) -> str:
        """The name of the shadow's primary key."""
        return self.part_name("_pkey")

    def part_name(self, suffix: str) -> str:
        """The name of an index of the shadow: the target's part of the name gives way, not the run's."""
        target, mark, run = self.name.rpartition(_MARK)
        return with_suffix(target, f"{mark}{run}{suffix}")


def shadow_of(plan: TablePlan, how: str, run_id: int, number: int) -> Shadow:
    """The shadow of the run's table number `number`.

    What will take the target's place is made in the target's schema, so that the schema's default
    privileges hold; what only lends its rows is kept out of sight in schema etl.
    """
    schema = "etl" if how == "difference" else plan.target_schema
    return Shadow(schema, with_suffix(plan.target_name, f"{_MARK}{run_id}_{number}"))


def create_shadow(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> None:
    """Create the shadow, empty and without indexes; a comment says whose it is."""
    with connection.transaction():
        execute(connection, ddl.create_table(plan, shadow.schema, shadow.name))
        text = f"etl-cli: {plan.target} while it is being loaded; safe to drop when no run is active"
        execute(connection, f"COMMENT ON TABLE {shadow.quoted} IS {quote_text(text)}")


def build_key(connection: SinkConnection, plan: TablePlan, shadow: Shadow) -> None:
    """Build the shadow's primary key, with enough memory to sort it."""
    statement = ddl.add_key(plan, shadow.schema, shadow.name, shadow.key_name)
    built = read_target(connection, shadow.schema, shadow.name)
    if statement is None or (built is not None and built.key is not None):
        return
    with connection.transaction():
        connection.execute(
            "SELECT set_config('maintenance_work_mem', greatest(setting::int, %s) || 'kB', true)"
            " FROM pg_settings WHERE name = 'maintenance_work_mem'",
            [INDEX_MEMORY_KB],
        )
        execute(connection, statement)


def free_name(connection: SinkConnection, schema: str, wanted: str) -> str:
    """`wanted`, or the next like it that no relation of the schema has."""
    for number in range(1, 1000):
        name = wanted if number == 1 else with_suffix(wanted, str(number))
        taken = connection.execute(
            "SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            [schema, name],
        ).fetchone()
        if taken is None:
            return name
    return wanted


def drop_shadow(connection: SinkConnection, shadow: Shadow) -> None:
    """Remove the shadow, if it is still there."""
    execute(connection, f"DROP TABLE IF EXISTS {shadow.quoted}")
