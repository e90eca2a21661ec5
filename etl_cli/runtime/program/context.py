"""What a step is given as `run`: the run, its parameters, the results before it, and the sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.sink.connect import Sink, SinkConnection, connect_sink


class SinkHandle:
    """The sink, for SQL of a step's own; each statement is a transaction unless `transaction` says otherwise."""

    def __init__(self, config: Config, application: str) -> None:
        self._config = config
        self._application = application

    @cached_property
    def connection(self) -> SinkConnection:
        """The psycopg connection, opened when it is first used."""
        return connect_sink(Sink(self._config.sink, self._config.connection), self._application)

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Any]:
        """Run a statement; its rows, none for one that has no result."""
        cursor = self.connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description is not None else []

    def close(self) -> None:
        """End the connection, where there is one."""
        if "connection" in self.__dict__:
            self.connection.close()


class Run:
    """The run that a step belongs to."""

    def __init__(
        self,
        config: Config,
        directory: Path,
        *,
        run_id: int | None,
        step: str,
        params: Mapping[str, Any],
        results: Mapping[str, Any],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self.pipeline = config.name
        self.directory = directory
        self.run_id = run_id
        self.params = dict(params)
        self.results = dict(results)
        self._tell = tell
        number = f" run {run_id}" if run_id is not None else ""
        self.sink = SinkHandle(config, f"etl-cli {config.name}{number} step {step}")

    def log(self, text: str) -> None:
        """Write a line to the run's log and its progress."""
        self._tell({"said": text})

    def progress(self, done: float, total: float | None = None) -> None:
        """Show how far the step is."""
        self._tell({"done": done, "total": total})
