"""Functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import not_supported
from etl_cli.sandbox.standin.sql.bound import Bound, converted, strict
from etl_cli.sandbox.standin.sql.convert import fit, rescale
from etl_cli.sandbox.standin.sql.functions.registry import register


@register("ABS", 1)
def _abs(arguments: list[Bound]) -> Bound:
    source = arguments[0]
    if not source.type.is_number:
        source = converted(source, t.FLOAT)
    kind = t.INT if source.type.name in ("bit", "tinyint", "smallint") else source.type
    return strict(kind, (lambda v: abs(v)) if kind.is_float else (lambda v: fit(kind, abs(v))), source)


def _whole(name: str, scaled: Callable[[int, int], int], single: Callable[[float], float]) -> None:
    @register(name, 1)
    def maker(arguments: list[Bound]) -> Bound:
        source = arguments[0]
        if source.type.is_float:
            return strict(source.type, lambda v: float(single(v)), source)
        unit = 10**source.type.scale
        if source.type.name in t.DECIMALS:
            kind = t.decimal(source.type.precision, 0, source.type.name)
            return strict(kind, lambda v: fit(kind, scaled(v, unit)), source)
        return strict(source.type, lambda v: scaled(v, unit) * unit, source)


_whole("FLOOR", lambda v, unit: v // unit, math.floor)
_whole("CEILING", lambda v, unit: -(-v // unit), math.ceil)


@register("ROUND", 2)
def _round(arguments: list[Bound]) -> Bound:
    source, digits = arguments[0], converted(arguments[1], t.INT).value
    kind = source.type
    if not kind.is_exact or digits is None:
        raise not_supported(f"ROUND of {kind.label}")
    return strict(kind, lambda v: fit(kind, rescale(rescale(v, kind.scale, digits), digits, kind.scale)), source)


@register("SIGN", 1)
def _sign(arguments: list[Bound]) -> Bound:
    source = arguments[0]
    unit = 10**source.type.scale if source.type.is_scaled else 1
    kind = t.INT if source.type.name in ("bit", "tinyint", "smallint") else source.type
    return strict(kind, lambda v: ((v > 0) - (v < 0)) * unit, source)
