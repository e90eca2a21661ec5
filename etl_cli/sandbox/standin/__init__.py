"""A SQL Server stand-in that speaks TDS 7.4, for trying out and for tests, without Docker."""

from etl_cli.sandbox.standin.control import ControlClient, ControlError
from etl_cli.sandbox.standin.handle import DatabaseHandle
from etl_cli.sandbox.standin.process import StandInProcess
from etl_cli.sandbox.standin.server import StandIn

__all__ = ["ControlClient", "ControlError", "DatabaseHandle", "StandIn", "StandInProcess"]
