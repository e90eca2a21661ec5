"""sys.databases, and what the server says of its sessions."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.catalogue.objects import as_datetime
from etl_cli.sandbox.standin.catalogue.registry import Values, view

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

CREATED = as_datetime(datetime.datetime(2022, 11, 16))
COMPATIBILITY_LEVEL = 160  # SQL Server 2022


@view(
    "sys.databases",
    "name sysname, database_id int, source_database_id int, owner_sid varbinary(85), create_date datetime, "
    "compatibility_level tinyint, collation_name sysname, user_access tinyint = 0, "
    "user_access_desc nvarchar(60) = 'MULTI_USER', is_read_only bit = 0, is_auto_close_on bit = 0, "
    "is_auto_shrink_on bit = 0, state tinyint = 0, state_desc nvarchar(60) = 'ONLINE', is_in_standby bit = 0, "
    "is_cleanly_shutdown bit = 0, is_supplemental_logging_enabled bit = 0, snapshot_isolation_state tinyint, "
    "snapshot_isolation_state_desc nvarchar(60), is_read_committed_snapshot_on bit, recovery_model tinyint = 1, "
    "recovery_model_desc nvarchar(60) = 'FULL', page_verify_option tinyint = 2, "
    "page_verify_option_desc nvarchar(60) = 'CHECKSUM', is_auto_create_stats_on bit = 1, "
    "is_auto_update_stats_on bit = 1, is_ansi_null_default_on bit = 0, is_ansi_nulls_on bit = 0, "
    "is_ansi_padding_on bit = 0, is_ansi_warnings_on bit = 0, is_arithabort_on bit = 0, "
    "is_concat_null_yields_null_on bit = 0, is_numeric_roundabort_on bit = 0, is_quoted_identifier_on bit = 0, "
    "is_recursive_triggers_on bit = 0, is_cursor_close_on_commit_on bit = 0, is_fulltext_enabled bit = 0, "
    "is_trustworthy_on bit = 0, is_db_chaining_on bit = 0, is_parameterization_forced bit = 0, is_published bit = 0, "
    "is_subscribed bit = 0, is_broker_enabled bit = 0, is_cdc_enabled bit = 0, is_encrypted bit = 0, "
    "containment tinyint = 0, containment_desc nvarchar(60) = 'NONE', is_query_store_on bit = 0, "
    "is_memory_optimized_enabled bit = 1, is_ledger_on bit = 0, is_change_feed_enabled bit = 0",
)
def _databases(context: ExecutionContext) -> Iterator[Values]:
    for database in context.session.instance.databases.values():
        yield {
            "name": database.name, "database_id": database.number, "owner_sid": b"\1", "create_date": CREATED,
            "compatibility_level": COMPATIBILITY_LEVEL, "collation_name": database.collation,
            "snapshot_isolation_state": int(database.allow_snapshot),
            "snapshot_isolation_state_desc": "ON" if database.allow_snapshot else "OFF",
            "is_read_committed_snapshot_on": int(database.read_committed_snapshot),
        }  # fmt: skip
