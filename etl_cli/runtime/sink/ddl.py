"""The text of CREATE TABLE and its company. Pure."""

from __future__ import annotations

from etl_cli.runtime.names import cut, quote_sink, quote_text, with_suffix
from etl_cli.runtime.plan import LINEAGE, TablePlan


def create_table(plan: TablePlan, schema: str, name: str) -> str:
    """CREATE TABLE for the planned columns, without key: indexes are built after the rows are in."""
    key = set(plan.key)
    lines = []
    for number, column in enumerate(plan.columns, start=1):
        nullable = column.nullable and column.target not in key
        suffix = "" if nullable else _not_null(plan, column.target, name, number)
        lines.append(f"    {quote_sink(column.target)} {column.sink_type}{suffix}")
    if plan.shard_column:
        number = len(plan.columns) + 1
        lines.append(f"    {quote_sink(plan.shard_column)} text{_not_null(plan, plan.shard_column, name, number)}")
    lines += [f"    {quote_sink(column)} {kind}" for column, kind in LINEAGE.items() if plan.lineage]
    return f"CREATE TABLE {quote_sink(schema, name)} (\n" + ",\n".join(lines) + "\n)"


def _not_null(plan: TablePlan, column: str, table: str, number: int) -> str:
    """NOT NULL, named after the target: since Postgres 18 its name would tell of the shadow otherwise."""
    if table == plan.target_name:
        return " NOT NULL"
    constraint = f"{plan.target_name}_{column}_not_null"
    if cut(constraint) != constraint:
        constraint = with_suffix(plan.target_name, f"_{number}_not_null")
    return f" CONSTRAINT {quote_sink(constraint)} NOT NULL"


def add_key(plan: TablePlan, schema: str, name: str, constraint: str) -> str | None:
    """ALTER TABLE that builds the primary key; None for a table without one."""
    if not plan.key:
        return None
    columns = ", ".join(quote_sink(column) for column in plan.key)
    return f"ALTER TABLE {quote_sink(schema, name)} ADD CONSTRAINT {quote_sink(constraint)} PRIMARY KEY ({columns})"


def comments(plan: TablePlan, schema: str, name: str) -> list[str]:
    """COMMENT ON for the table and each column that the source comments."""
    table = quote_sink(schema, name)
    statements = []
    if plan.comment:
        statements.append(f"COMMENT ON TABLE {table} IS {quote_text(plan.comment)}")
    statements += [
        f"COMMENT ON COLUMN {table}.{quote_sink(column.target)} IS {quote_text(column.comment)}"
        for column in plan.columns
        if column.comment
    ]
    return statements


def key_name(plan: TablePlan) -> str:
    """The primary key's name, as Postgres itself would give it."""
    return with_suffix(plan.target_name, "_pkey")


def script(plan: TablePlan) -> str:
    """All statements that make the target, for `plan --ddl`."""
    schema, name = plan.target_schema, plan.target_name
    key = add_key(plan, schema, name, key_name(plan))
    statements = [create_table(plan, schema, name), *([key] if key else []), *comments(plan, schema, name)]
    return ";\n".join(statements) + ";\n"
