"""The table that most tests of the sink replace, with its rows before and after."""

from __future__ import annotations

from dataclasses import replace

from tests.support.plans import table_plan

PLAN = table_plan({"id": "integer", "name": "text", "total": "numeric(10,2)"}, ["id"])
KEYLESS = replace(PLAN, key=(), order=())
DIFFERENCE = replace(PLAN, apply="difference")

OLD = [(1, "one", 1), (2, "two", 2), (3, "three", 3)]
NEW = [(2, "two", 2), (3, "THREE", 3), (4, "four", 4)]
