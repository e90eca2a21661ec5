"""What stands at a target's name in the sink, and what hangs on it."""

from __future__ import annotations

from dataclasses import dataclass

from etl_cli.runtime.sink.connect import SinkConnection
from etl_cli.runtime.sink.queries import query


@dataclass(frozen=True)
class TargetColumn:
    """A column of the target, its type as `format_type` spells it."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    identity: str
    generated: str
    has_settings: bool
    comment: str | None


@dataclass(frozen=True)
class TargetConstraint:
    """A constraint of the target (`own`) or of another table that refers to it."""

    name: str
    kind: str
    own: bool
    columns: tuple[str, ...]
    has_settings: bool = False
    comment: str | None = None
    index_comment: str | None = None
    deferrable: bool = False


@dataclass(frozen=True)
class TargetIndex:
    """An index that no constraint made."""

    name: str
    definition: str
    has_settings: bool
    unique: bool = False
    head: str = ""
    """The definition's beginning, up to the table's name."""
    comment: str | None = None


@dataclass(frozen=True)
class Dependent:
    """Something that would go if the table were dropped; `view_oid` is 0 where it is no view."""

    view_kind: str
    view_oid: int
    description: str
    is_ours: bool = True
    columns: tuple[str, ...] | None = None
    """The target's columns that a view reads; None where it names none (count(*), whole rows)."""


@dataclass(frozen=True)
class Target:
    """A relation of the sink at the target's name."""

    oid: int
    kind: str
    is_owner: bool
    comment: str | None
    persistence: str
    has_settings: bool
    has_row_security: bool
    is_inherited: bool
    is_published: bool
    has_security_label: bool
    columns: tuple[TargetColumn, ...]
    constraints: tuple[TargetConstraint, ...]
    indexes: tuple[TargetIndex, ...]
    dependents: tuple[Dependent, ...]
    lacks_identity: bool = False
    """Its changes are published, and nothing tells its rows apart."""

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's columns, or ()."""
        return self.key.columns if self.key else ()

    @property
    def key(self) -> TargetConstraint | None:
        """The primary key, if there is one."""
        return next((c for c in self.constraints if c.own and c.kind == "p"), None)


def read_target(connection: SinkConnection, schema: str, name: str) -> Target | None:
    """The relation at that name, or None."""
    row = connection.execute(query("target"), {"schema": schema, "name": name}).fetchone()
    if row is None:
        return None
    oid = {"oid": row[0]}
    columns = connection.execute(query("target_columns"), oid).fetchall()
    constraints = connection.execute(query("target_constraints"), oid).fetchall()
    indexes = connection.execute(query("target_indexes"), oid).fetchall()
    dependents = connection.execute(query("target_dependents"), oid).fetchall()
    *facts, lacks_identity = row
    return Target(  # type: ignore[call-arg]  # mypy cannot count what the row holds
        *facts,
        tuple(TargetColumn(*r) for r in columns),
        tuple(TargetConstraint(r[0], r[1], r[2], tuple(r[3]), *r[4:]) for r in constraints),
        tuple(TargetIndex(*r) for r in indexes),
        tuple(Dependent(r[0], r[1], r[2], r[3], tuple(r[4]) if r[4] else None) for r in dependents),
        lacks_identity,
    )
