"""Targets made by hand; what a test does not name has an ordinary value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etl_cli.runtime.sink.target import Target, TargetColumn, TargetConstraint


def target_of(columns: Mapping[str, str], key: Sequence[str] = (), **changes: Any) -> Target:
    """A table of its owner with these columns, as {name: Postgres type}."""
    values: dict[str, Any] = {
        "oid": 1,
        "kind": "r",
        "is_owner": True,
        "comment": None,
        "persistence": "p",
        "has_settings": False,
        "has_row_security": False,
        "is_inherited": False,
        "is_published": False,
        "has_security_label": False,
        "columns": tuple(
            TargetColumn(name, kind, name in key, False, "", "", False, None) for name, kind in columns.items()
        ),
        "constraints": (TargetConstraint("orders_pkey", "p", True, tuple(key)),) if key else (),
        "indexes": (),
        "dependents": (),
    }
    return Target(**{**values, **changes})
