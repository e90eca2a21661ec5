"""Identifiers: quoted on both sides, folded for Postgres, and never cut silently."""

from __future__ import annotations

import re
from collections.abc import Iterable

POSTGRES_NAME_BYTES = 63
"""NAMEDATALEN - 1: Postgres cuts a longer identifier without an error."""

_PARTS = re.compile(r"\[(?:[^\]]|\]\])*\]|[^.\[]+")


def quote_source(*parts: str) -> str:
    """A T-SQL name: `quote_source("dbo", "order lines")` -> `[dbo].[order lines]`."""
    return ".".join("[" + part.replace("]", "]]") + "]" for part in parts)


def quote_sink(*parts: str) -> str:
    """A Postgres name: `quote_sink("public", "orders")` -> `"public"."orders"`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def quote_text(text: str) -> str:
    """A Postgres literal, for the few statements that take no parameters (COMMENT, SET)."""
    body = text.replace("'", "''")
    return "E'" + body.replace("\\", "\\\\") + "'" if "\\" in body else f"'{body}'"


def fold(name: str, how: str) -> str:
    """A source name as the target's: lower case with `fold`, as it is with `keep`."""
    return name.lower() if how == "fold" else name


def cut(name: str) -> str:
    """The name as Postgres would store it: cut to 63 bytes, never within a character."""
    return name.encode("utf-8")[:POSTGRES_NAME_BYTES].decode("utf-8", errors="ignore")


def collisions(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Names that Postgres would take for one after its cut: (the stored name, those that meet in it)."""
    stored: dict[str, list[str]] = {}
    for name in names:
        stored.setdefault(cut(name), []).append(name)
    return [(short, meeting) for short, meeting in stored.items() if len(meeting) > 1]


def with_suffix(name: str, suffix: str) -> str:
    """`name` + `suffix` within 63 bytes, the name giving way."""
    room = POSTGRES_NAME_BYTES - len(suffix.encode("utf-8"))
    return name.encode("utf-8")[:room].decode("utf-8", errors="ignore") + suffix


def placed(table: str, shard: str) -> str:
    """A table and where it is, for messages: `dbo.orders of shard1`; alone where there is no shard to name."""
    return f"{table} of {shard}" if shard else table


def split_name(source: str) -> tuple[str, str]:
    """`dbo.orders` -> ("dbo", "orders"); without a schema it is dbo; brackets may stand around either.

    As in T-SQL a dot within brackets is one of the name, and a doubled closing bracket is one.
    """
    parts = [part[1:-1].replace("]]", "]") if part.startswith("[") else part for part in _PARTS.findall(source)]
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("dbo", parts[-1])
