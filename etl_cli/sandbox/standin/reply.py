"""Results to tokens: every DONE but the last says that more follows, so the last is written late."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.results import Affected, Result, ResultSet, Silent
from etl_cli.sandbox.standin.wire import tokens
from etl_cli.sandbox.standin.wire.packets import Channel

SendRows = Callable[[ResultSet], int]


class Reply:
    """The reply to one message; procedure: statements end with DONEINPROC."""

    def __init__(self, channel: Channel, send_rows: SendRows) -> None:
        self.channel = channel
        self.procedure = False
        self.no_count: Callable[[], bool] = lambda: False
        self._send_rows = send_rows
        self._pending: tuple[int, int, int, str] | None = None  # token, status, rows, command

    def statement(self, results: Generator[Result, None, None] | Any) -> int:
        """Send what a statement yields and return its row count."""
        count = 0
        for result in results:
            if isinstance(result, Silent):
                self.tokens(result.tokens)
                self._end(0, 0, "")
            elif isinstance(result, Affected):
                count = result.rows
                self._end(0 if self.no_count() else tokens.COUNT, count, result.command)
            else:
                self.tokens(tokens.column_metadata(result.columns))
                count = self._send_rows(result)
                self._end(tokens.COUNT, count, "SELECT")
        return count

    def tokens(self, data: bytes) -> None:
        """Write tokens that belong to the next statement."""
        if data:
            self._flush_end(more=True)
            self.channel.write(data)

    def error(self, error: SqlError) -> None:
        """Write ERROR and the end of its statement."""
        self.tokens(tokens.message(error))
        self._end(tokens.ERROR, 0, "")

    def _end(self, status: int, rows: int, command: str) -> None:
        self._flush_end(more=True)
        token = tokens.DONE_IN_PROCEDURE if self.procedure else tokens.DONE
        self._pending = (token, status, rows, command)

    def _flush_end(self, *, more: bool) -> None:
        if self._pending is not None:
            token, status, rows, command = self._pending
            self._pending = None
            self.channel.write(tokens.done(token, status | (tokens.MORE if more else 0), rows, command))

    def procedure_end(self, status: int, value: bytes = b"", *, failed: bool = False) -> None:
        """End a remote procedure call: return status, returned handle, DONEPROC."""
        self._flush_end(more=True)
        self.channel.write(tokens.return_status(status) + value)
        self._pending = (tokens.DONE_PROCEDURE, tokens.ERROR if failed else 0, 0, "")

    def cancelled(self) -> None:
        """Acknowledge ATTENTION; a bare acknowledgement before any result would read as success."""
        self._pending = None
        self.channel.write(tokens.done(tokens.DONE, tokens.ERROR | tokens.MORE))
        self.channel.write(tokens.done(tokens.DONE, tokens.ATTENTION))
        self.channel.finish()

    def finish(self) -> None:
        """Send the end of the reply."""
        if self._pending is None:
            self._pending = (tokens.DONE, 0, 0, "")
        self._flush_end(more=False)
        self.channel.finish()
