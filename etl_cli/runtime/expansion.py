"""Which tables the entries of `tables` name: patterns are resolved against what the shards have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from etl_cli.runtime.config.tables import TableConfig
from etl_cli.runtime.names import split_name
from etl_cli.runtime.source.catalogue import Catalogue


def expand(
    tables: Sequence[TableConfig], catalogues: Sequence[Catalogue], problems: list[str]
) -> list[tuple[TableConfig, tuple[str, str]]]:
    """Every configured table by name, patterns resolved against what the shards have.

    A table that an entry names itself is left out of the patterns beside it.
    """
    named = {tuple(part.lower() for part in split_name(t.source)) for t in tables if not t.is_pattern}
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for catalogue in catalogues:
        for name, found in catalogue.tables.items():
            if not found.is_view:
                seen.setdefault((name[0].lower(), name[1].lower()), name)
    result: list[tuple[TableConfig, tuple[str, str]]] = []
    for table in tables:
        if not table.is_pattern:
            result.append((table, split_name(table.source)))
            continue
        matching = [name for folded, name in sorted(seen.items()) if _matches(name, table) and folded not in named]
        if not matching and catalogues:
            problems.append(f"{table.source}: no table matches; see what is there with SELECT name FROM sys.tables")
        result += [(table, name) for name in matching]
    return result


def names(table: TableConfig, source: str) -> bool:
    """Whether an entry of `tables` stands for that source table."""
    name = split_name(source)
    if table.is_pattern:
        return _matches(name, table)
    return tuple(part.lower() for part in split_name(table.source)) == tuple(part.lower() for part in name)


def _matches(name: tuple[str, str], table: TableConfig) -> bool:
    def fits(pattern: str) -> bool:
        return all(fnmatchcase(n.lower(), p.lower()) for n, p in zip(name, split_name(pattern), strict=True))

    return fits(table.source) and not any(fits(pattern) for pattern in table.exclude)
