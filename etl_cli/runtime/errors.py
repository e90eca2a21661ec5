"""One base for every error that a user may see; each carries its datum and ends with the fix."""

from __future__ import annotations

_CONTROL = {code: f"\\x{code:02x}" for code in range(32) if code != 10} | {127: "\\x7f"}
"""What a value of the source may hold and neither a terminal nor the ledger should get."""


class EtlError(Exception):
    """An error that is shown as one line: what is wrong, and what to do.

    `exit_code` is what a command ends with: 1 the work failed, 2 wrong usage or configuration.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message.translate(_CONTROL)
        self.remedy = remedy.translate(_CONTROL)
        self.trace = ""
        """Where it arose in another process, for --debug."""
        super().__init__(f"{self.message}: {self.remedy}" if remedy else self.message)


class UsageError(EtlError):
    """The command line asks for something that cannot be: an unknown pipeline, a bad name."""

    exit_code = 2


class ConfigError(EtlError):
    """config.yaml or .env is wrong; the message names the key and, where known, the line."""

    exit_code = 2


class SourceError(EtlError):
    """A SQL Server shard could not be reached or read; carries the server's error number if any."""

    def __init__(self, message: str, remedy: str = "", *, shard: str = "", number: int | None = None) -> None:
        self.shard = shard
        self.number = number
        super().__init__(message, remedy)


class SinkError(EtlError):
    """The sink could not be reached or written; carries the SQLSTATE if any."""

    def __init__(self, message: str, remedy: str = "", *, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message, remedy)


class PlanError(EtlError):
    """The source, the target and the configuration do not fit together."""


class InvalidError(EtlError):
    """What was loaded is not what the source has: a count or a checksum differs. No other run may go on with it."""


class DataError(EtlError):
    """A row that Postgres cannot hold, or a count that is not what it must be."""
