"""The SQL Server shards: connecting, reading the catalogue, and what their errors mean."""
