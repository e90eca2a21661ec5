"""Functions of dates."""

from __future__ import annotations

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.sql import temporal
from etl_cli.sandbox.standin.sql.bound import Bound, converted, strict
from etl_cli.sandbox.standin.sql.functions.registry import register
from etl_cli.sandbox.standin.types import SqlType


def _part(name: str, first: int, last: int) -> None:
    @register(name, 1)
    def maker(arguments: list[Bound]) -> Bound:
        date = converted(arguments[0], SqlType("datetime2", scale=7))
        style = SqlType("date")
        return strict(t.INT, lambda v: int(temporal.format_value(style, v // temporal.DAY, None)[first:last]), date)


_part("YEAR", 0, 4)
_part("MONTH", 5, 7)
_part("DAY", 8, 10)
