"""What a pipeline is generated from: the answers, validated as they are given."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field

from etl_cli import __version__
from etl_cli.runtime.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_ID = re.compile(r"[0-9a-f]{8}")
_PYTHON = re.compile(r"3\.1[1-9]")
# a part may hold what SQL Server allows between brackets, except what would need quoting to split it
# again; * and ? make it a pattern
_TABLE = re.compile(r"[\w@#*?][\w@#$*? -]*\.[\w@#*?][\w@#$*? -]*")


def new_id() -> str:
    """Eight random hex digits: what tells a pipeline from another one of the same name."""
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Answers:
    """The answers that every template is given.

    `tables` are `schema.table` or patterns such as `dbo.*`; none means the template's example.
    Raises UsageError for an answer that cannot be.
    """

    name: str
    tables: tuple[str, ...] = ()
    id: str = field(default_factory=new_id)
    python: str = "3.11"
    version: str = __version__

    def __post_init__(self) -> None:
        _check_name(self.name)
        for table in self.tables:
            if not is_table(table):
                raise _not_a_table(table)
        object.__setattr__(self, "tables", _without_repeats(self.tables))
        if not _ID.fullmatch(self.id):
            raise UsageError(f"{self.id!r} is not a pipeline id", "it is eight hex digits, e.g. 7f3a9c1e")
        if not _PYTHON.fullmatch(self.python):
            raise UsageError(f"Python {self.python!r} is not supported", "use 3.11 or newer")


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name):
        return
    # of a path the last part is what was meant as a name
    words = re.sub(r"[^a-z0-9]+", "-", re.split(r"[/\\]", name.rstrip("/\\"))[-1].lower())
    suggestion = re.sub(r"^[^a-z]+", "", words)[:40].strip("-") or "orders"
    raise UsageError(
        f"{name!r} is not a pipeline name",
        f"use a lower-case letter, then up to 39 lower-case letters, digits and dashes, e.g. --name {suggestion}",
    )


def is_table(text: str) -> bool:
    """Whether `text` is `schema.table`, or a pattern of them."""
    return _TABLE.fullmatch(text) is not None


def _not_a_table(table: str) -> UsageError:
    example = f"dbo.{table}" if re.fullmatch(r"\w+", table) else "dbo.orders"
    return UsageError(f"{table!r} is not a table", f"write it as schema.table, e.g. --table {example}")


def _without_repeats(tables: tuple[str, ...]) -> tuple[str, ...]:
    """Each table once, in the order given; SQL Server's names mostly do not tell case apart."""
    unique: dict[str, str] = {}
    for table in tables:
        unique.setdefault(table.lower(), table)
    return tuple(unique.values())
