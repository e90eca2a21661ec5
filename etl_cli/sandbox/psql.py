"""`python -m etl_cli.sandbox.psql`: prints the path of the embedded Postgres's psql."""

from __future__ import annotations

from etl_cli.sandbox.postgres import embedded_binaries

if __name__ == "__main__":
    print(embedded_binaries() / "psql")
