"""Four SQL Server stand-ins and an embedded Postgres, for trying out and for tests."""
