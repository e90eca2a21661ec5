"""Looking into syntax trees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.types import SqlType


@lru_cache(maxsize=64)
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


def walk(node: Any, *, into_queries: bool = False) -> Iterator[Any]:
    """Yield a node and all below it; nothing inside inner queries unless into_queries."""
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item, into_queries=into_queries)
    elif is_dataclass(node) and not isinstance(node, (type, SqlType)):
        yield node
        if into_queries or not isinstance(node, ast.Select):
            for name in _names(type(node)):
                yield from walk(getattr(node, name), into_queries=into_queries)


def conjuncts(node: ast.Expression | None) -> list[ast.Expression]:
    """Return the parts that AND joins at the top."""
    if node is None:
        return []
    if isinstance(node, ast.Logical) and node.operator == "AND":
        return [part for operand in node.operands for part in conjuncts(operand)]
    return [node]
