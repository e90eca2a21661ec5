"""Catalogues made by hand, for what no server in the tests has."""

from __future__ import annotations

from etl_cli.runtime.source.catalogue import Catalogue, Server, SourceColumn, SourceTable
from etl_cli.runtime.type_map import SourceType


def catalogue_with_type(shard: str, name: str) -> Catalogue:
    """A shard whose dbo.orders has a column of type `name`."""
    columns = (
        SourceColumn("id", SourceType("int"), nullable=False),
        SourceColumn("odd", SourceType(name), nullable=True),
    )
    server = Server("16.0.1000.6", 3, "sourcedb", True, False, "SQL_Latin1_General_CP1_CI_AS")
    return Catalogue(shard, server, {("dbo", "orders"): SourceTable("dbo", "orders", False, columns)})
