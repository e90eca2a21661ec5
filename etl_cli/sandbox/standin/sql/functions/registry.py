"""Which functions there are, and how one is registered."""

from __future__ import annotations

from collections.abc import Callable

from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.sql.bound import Bound

Maker = Callable[[list[Bound]], Bound]
MAKERS: dict[str, tuple[int, int, Maker]] = {}
ANY_NUMBER = 254


def make(name: str, arguments: list[Bound]) -> Bound | None:
    """Return the call of a function, None when there is none of that name; 174 for a wrong number of arguments."""
    if name not in MAKERS:
        return None
    least, most, maker = MAKERS[name]
    if not least <= len(arguments) <= most:
        raise SqlError(174, f"The {name.lower()} function requires {least} argument(s).", severity=15)
    return maker(arguments)


def register(name: str, least: int, most: int | None = None) -> Callable[[Maker], Maker]:
    """Return the decorator that keeps the maker of a function with so many arguments."""

    def keep(maker: Maker) -> Maker:
        MAKERS[name] = (least, least if most is None else most, maker)
        return maker

    return keep
