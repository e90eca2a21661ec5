"""The ledger: schema `etl` in the sink, which knows every run, task and chunk."""

from etl_cli.runtime.ledger.ledger import Ledger, RunTotals, TaskId

__all__ = ["Ledger", "RunTotals", "TaskId"]
