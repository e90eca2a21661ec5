"""Scaffold, run and watch SQL Server to Postgres pipelines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etl_cli.runtime.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """`Client` is imported when it is asked for: commands must start in a moment."""
    if name == "Client":
        from etl_cli.runtime.client import Client

        return Client
    raise AttributeError(name)
