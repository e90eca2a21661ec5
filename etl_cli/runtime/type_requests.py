"""What `types` asks for: another Postgres type for a column than the usual one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from etl_cli.runtime.config.tables import TableConfig, TypeRequest
from etl_cli.runtime.names import cut, fold, quote_source, with_suffix
from etl_cli.runtime.plan import ColumnPlan
from etl_cli.runtime.source.catalogue import SourceColumn, SourceTable
from etl_cli.runtime.type_map import SourceType, UnsupportedTypeError

EXTENSION_TYPES: Mapping[str, str] = {"geometry": "geometry", "geography": "geography", "vector": "vector"}
"""The types that extensions bring, as a sink spells them that has them on its search path."""

_FITTING: Mapping[TypeRequest, tuple[str, ...]] = {
    "varchar": ("char", "varchar", "nchar", "nvarchar"),
    "offset": ("datetimeoffset",),
    "postgis": ("geography", "geometry"),
    "vector": ("vector",),
}

_EXTENSIONS: Mapping[TypeRequest, str] = {"postgis": "postgis", "vector": "vector"}


def requests_of(
    table: TableConfig,
    first: SourceTable,
    wanted: Collection[str],
    extension_types: Mapping[str, str],
    defaults: Mapping[str, TypeRequest],
) -> tuple[dict[str, TypeRequest], list[str]]:
    """The requests by the source's spelling of each column, and what is wrong with `types`.

    `wanted` are the columns that are copied. Patterns and `defaults` speak of many tables: what one of them lacks
    is no problem there.
    """
    own = not table.is_pattern and table.types != defaults
    requests: dict[str, TypeRequest] = {}
    problems: list[str] = []
    for name, request in table.types.items():
        column = first.column(name)
        if column is None or column.name not in wanted:
            problems += _absent(name, column, first) if own else ()
            continue
        if column.name in requests:
            problems.append(f"types names column {column.name} twice: keep one of the two")
        taken = list(_taken(column, request, wanted, table.names))
        problems += [*_lacking(column, request, extension_types), *taken]
        if not taken:
            requests[column.name] = request
    return requests, problems


def _absent(name: str, column: SourceColumn | None, first: SourceTable) -> Iterator[str]:
    if column is None:
        listed = ", ".join(own.name for own in first.columns)
        yield f"types names a column {name}, which the table has not: its columns are {listed}"
    else:
        yield f"types names column {column.name}, which is not copied: add it to `columns`, or take it out of `types`"


def _lacking(column: SourceColumn, request: TypeRequest, extension_types: Mapping[str, str]) -> Iterator[str]:
    extension = _EXTENSIONS.get(request)
    if extension and _fits(request, column.type) and column.type.name.lower() not in extension_types:
        yield (
            f"column {column.name}: types: {request} needs the extension {extension}, which the sink's database has "
            f"not: CREATE EXTENSION {extension} there, or take the column out of `types`"
        )


def _taken(column: SourceColumn, request: TypeRequest, wanted: Collection[str], names: str) -> Iterator[str]:
    target = cut(fold(offset_name(column.name), names))
    if request == "offset" and target in {cut(fold(name, names)) for name in wanted}:
        yield (
            f"column {column.name}: types: offset would make a column {target}, which the table has already: "
            f"leave that one out with `columns`, or take {column.name} out of `types`"
        )


def requested_type(request: TypeRequest, source: SourceType, extension_types: Mapping[str, str]) -> str:
    """The Postgres type of a column with a request. Raises UnsupportedTypeError where the two do not fit."""
    if not _fits(request, source):
        fitting = ", ".join(_FITTING[request])
        raise UnsupportedTypeError(
            f"types: {request} does not fit {source}", f"it is for {fitting}: take the column out of `types`"
        )
    if request == "varchar":
        return _varchar(source)
    if request == "offset":
        return "timestamp with time zone"
    name = source.name.lower()
    spelled = extension_types.get(name, name)
    return f"{spelled}({source.length})" if request == "vector" and source.length else spelled


def _fits(request: TypeRequest, source: SourceType) -> bool:
    return source.name.lower() in _FITTING[request]


def _varchar(source: SourceType) -> str:
    """Postgres counts code points. SQL Server counts bytes of char and varchar, UTF-16 units of nchar and nvarchar:
    of both a code point takes one at least, in every code page and in UTF-8, so n of them always have room.
    """
    if source.length is None or source.length < 1:
        raise UnsupportedTypeError(
            f"types: varchar does not fit {source}, which has no length", "take the column out of `types`: it is text"
        )
    return f"character varying({source.length})"


def widest(types: Mapping[str, str]) -> dict[str, str]:
    """The types by shard; where all are varchar(n), each with the greatest n, which holds the values of all."""
    prefix = "character varying("
    if not types or not all(kind.startswith(prefix) for kind in types.values()):
        return dict(types)
    length = max(int(kind.removeprefix(prefix).rstrip(")")) for kind in types.values())
    return dict.fromkeys(types, f"{prefix}{length})")


def offset_name(column: str) -> str:
    """The name of the column that holds the offsets of another."""
    return with_suffix(column, "_offset")


def offset_column(plan: ColumnPlan, names: str) -> ColumnPlan:
    """The column beside a datetimeoffset that holds its offset, which timestamptz does not keep."""
    name = offset_name(plan.source)
    return ColumnPlan(
        source=name,
        target=cut(fold(name, names)),
        source_type="int",
        sink_type="smallint",
        expression=f"DATEPART(tzoffset, {quote_source(plan.source)})",
        nullable=plan.nullable,
        derived=True,
        comment=f"minutes east of UTC of {plan.source}",
    )
