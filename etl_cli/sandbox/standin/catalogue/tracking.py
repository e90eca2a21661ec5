"""sys.change_tracking_databases and sys.change_tracking_tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.catalogue.objects import tables
from etl_cli.sandbox.standin.catalogue.registry import Values, view

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.context import ExecutionContext

UNITS = {"MINUTES": 1, "HOURS": 2, "DAYS": 3}


@view(
    "sys.change_tracking_databases",
    "database_id int, is_auto_cleanup_on bit, retention_period int, retention_period_units tinyint, "
    "retention_period_units_desc nvarchar(60), max_cleanup_version bigint",
)
def _databases(context: ExecutionContext) -> Iterator[Values]:
    for database in context.session.instance.databases.values():
        options = database.change_tracking
        if options is not None:
            cleaned = [journal.cleanup_version for journal in database.state.journals.values()]
            yield {
                "database_id": database.number, "is_auto_cleanup_on": int(options.auto_cleanup),
                "retention_period": options.retention, "retention_period_units": UNITS[options.unit],
                "retention_period_units_desc": options.unit, "max_cleanup_version": max(cleaned, default=0),
            }  # fmt: skip


@view(
    "sys.change_tracking_tables",
    "object_id int, is_track_columns_updated_on bit, min_valid_version bigint, begin_version bigint, "
    "cleanup_version bigint",
)
def _tables(context: ExecutionContext) -> Iterator[Values]:
    journals = context.transaction.state.journals
    for table in tables(context):
        journal = journals.get(table.object_id)
        if journal is not None:
            yield {
                "object_id": table.object_id, "is_track_columns_updated_on": int(journal.tracks_columns),
                "min_valid_version": journal.min_valid_version, "begin_version": journal.begin_version,
                "cleanup_version": journal.cleanup_version,
            }  # fmt: skip
