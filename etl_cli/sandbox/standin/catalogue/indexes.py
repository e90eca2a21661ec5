"""sys.indexes, their columns, and how many rows and pages a table has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.catalogue.objects import tables
from etl_cli.sandbox.standin.catalogue.registry import Values, view
from etl_cli.sandbox.standin.store.definitions import Table

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

PAGE = 8192
ROW_GUESS = 100  # bytes of a row that lies outside the body


@view(
    "sys.indexes",
    "object_id int, name sysname, index_id int, type tinyint, type_desc nvarchar(60), is_unique bit = 0, "
    "data_space_id int = 1, ignore_dup_key bit = 0, is_primary_key bit = 0, is_unique_constraint bit = 0, "
    "fill_factor tinyint = 0, is_padded bit = 0, is_disabled bit = 0, is_hypothetical bit = 0, "
    "is_ignored_in_optimization bit = 0, allow_row_locks bit = 1, allow_page_locks bit = 1, has_filter bit = 0, "
    "filter_definition nvarchar(max), compression_delay int, suppress_dup_key_messages bit = 0, auto_created bit = 0, "
    "optimize_for_sequential_key bit = 0",
)
def _indexes(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        if table.clustered is None:
            yield {"object_id": table.object_id, "index_id": 0, "type": 0, "type_desc": "HEAP"}
        for index in table.indexes:
            yield {
                "object_id": table.object_id, "name": index.name, "index_id": index.number,
                "type": 1 if index.clustered else 2,
                "type_desc": "CLUSTERED" if index.clustered else "NONCLUSTERED", "is_unique": int(index.unique),
                "is_primary_key": int(index.constraint == "PRIMARY KEY"),
                "is_unique_constraint": int(index.constraint == "UNIQUE"),
            }  # fmt: skip


@view(
    "sys.index_columns",
    "object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint, "
    "partition_ordinal tinyint = 0, is_descending_key bit, is_included_column bit, "
    "column_store_order_ordinal tinyint = 0",
)
def _index_columns(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        for index in table.indexes:
            keys = [(place, down, 0) for place, down in index.columns]
            for number, (place, down, included) in enumerate([*keys, *((p, False, 1) for p in index.included)], 1):
                yield {
                    "object_id": table.object_id, "index_id": index.number, "index_column_id": number,
                    "column_id": table.columns[place].number, "key_ordinal": 0 if included else number,
                    "is_descending_key": int(down), "is_included_column": included,
                }  # fmt: skip


def _index_numbers(table: Table) -> list[int]:
    return ([0] if table.clustered is None else []) + [index.number for index in table.indexes]


def _partition_id(table: Table, index: int) -> int:
    return 72057594000000000 + table.object_id * 64 + index


@view(
    "sys.partitions",
    "partition_id bigint, object_id int, index_id int, partition_number int = 1, hobt_id bigint, rows bigint, "
    "filestream_filegroup_id smallint = 0, data_compression tinyint = 0, data_compression_desc nvarchar(60) = 'NONE', "
    "xml_compression bit = 0, xml_compression_desc varchar(3) = 'OFF'",
)
def _partitions(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        count = context.transaction.version(table).count
        for number in _index_numbers(table):
            partition = _partition_id(table, number)
            yield {
                "partition_id": partition, "object_id": table.object_id, "index_id": number, "hobt_id": partition,
                "rows": count,
            }  # fmt: skip


@view(
    "sys.dm_db_partition_stats",
    "partition_id bigint, object_id int, index_id int, partition_number int = 1, in_row_data_page_count bigint, "
    "in_row_used_page_count bigint, in_row_reserved_page_count bigint, lob_used_page_count bigint = 0, "
    "lob_reserved_page_count bigint = 0, row_overflow_used_page_count bigint = 0, "
    "row_overflow_reserved_page_count bigint = 0, used_page_count bigint, reserved_page_count bigint, row_count bigint",
)
def _partition_stats(context: ExecutionContext) -> Iterator[Values]:
    for table in tables(context):
        version = context.transaction.version(table)
        store, _, rows = version.content
        pages = -(-(store.byte_count + ROW_GUESS * len(rows)) // PAGE)
        for number in _index_numbers(table):
            yield {
                "partition_id": _partition_id(table, number), "object_id": table.object_id, "index_id": number,
                "in_row_data_page_count": pages, "in_row_used_page_count": pages, "in_row_reserved_page_count": pages,
                "used_page_count": pages, "reserved_page_count": pages, "row_count": version.count,
            }  # fmt: skip
