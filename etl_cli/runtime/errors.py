"""One base for every error that a user may see; each carries its datum and ends with the fix."""

from __future__ import annotations


class EtlError(Exception):
    """An error that is shown as one line: what is wrong, and what to do.

    `exit_code` is what a command ends with: 1 the work failed, 2 wrong usage or configuration.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}: {remedy}" if remedy else message)


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


class DataError(EtlError):
    """A row that Postgres cannot hold, or a count that is not what it must be."""
