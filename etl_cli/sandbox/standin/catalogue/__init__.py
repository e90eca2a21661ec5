"""The catalogue views, as ordinary tables over a transaction's state."""

from __future__ import annotations

from etl_cli.sandbox.standin.catalogue.registry import CatalogueTable, find

__all__ = ["CatalogueTable", "find"]
