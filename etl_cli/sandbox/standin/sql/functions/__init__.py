"""The functions that need no session."""

from etl_cli.sandbox.standin.sql.functions import dates, nulls, numbers, text, tracking  # noqa: F401  (they register)
from etl_cli.sandbox.standin.sql.functions.registry import make

__all__ = ["make"]
