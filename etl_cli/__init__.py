"""Scaffold, run and watch SQL Server to Postgres pipelines."""

__version__ = "0.1.0"
