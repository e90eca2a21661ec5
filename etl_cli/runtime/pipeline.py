"""`Pipeline`: what an etl.py declares, and what it runs when it is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack, overload

if TYPE_CHECKING:
    from etl_cli.runtime.config import Config
    from etl_cli.runtime.outcome import Outcome
    from etl_cli.runtime.program.declared import Declared, Frame, Kind
    from etl_cli.runtime.program.source_settings import SourceSettings
    from etl_cli.runtime.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])


class _Load:
    """On the class it makes a pipeline of the file of its etl.py, on a pipeline it declares an own writer."""

    @overload
    def __get__(self, pipeline: None, owner: type[Pipeline]) -> Callable[[str], Pipeline]: ...

    @overload
    def __get__(self, pipeline: Pipeline, owner: type[Pipeline]) -> Callable[[str], Callable[[F], F]]: ...

    def __get__(self, pipeline: Pipeline | None, owner: type[Pipeline]) -> Any:
        return owner.of_file if pipeline is None else pipeline.writer


class Pipeline:
    """A pipeline directory: its config.yaml, its .env and the code of its etl.py."""

    def __init__(self, place: Path | str) -> None:
        """`place` is the directory, or the name of a pipeline that lives in this program alone, without a sink."""
        self.directory = place if isinstance(place, Path) else Path.cwd()
        self._name = None if isinstance(place, Path) else place

    @cached_property
    def declared(self) -> Declared:
        """What etl.py declares."""
        from etl_cli.runtime.program.declared import Declared

        return Declared()

    load = _Load()
    """`Pipeline.load(__file__)` makes one; `@pipeline.load("orders")` declares an own writer."""

    @classmethod
    def of_file(cls, file: str) -> Pipeline:
        """The pipeline whose etl.py is `file`; nothing is read before it is needed."""
        return cls(Path(file).resolve().parent)

    @cached_property
    def config(self) -> Config:
        """The validated configuration. Raises ConfigError."""
        from etl_cli.runtime.config import load_config
        from etl_cli.runtime.config.model import Config

        if self._name is not None:
            return Config.model_validate({"name": self._name, "id": "00000000"})
        return load_config(self.directory)

    def transform(self, table: str, *, as_: Frame = "arrow") -> Callable[[F], F]:
        """Pass the table's batches through a function: it takes an Arrow record batch and gives one back.

        With `as_` it takes and gives a frame of polars or pandas instead, where that is installed. It is called with
        an empty batch before a run: what columns it gives back are the target's.
        """
        return self._declaring("transform", table, as_=as_)

    def map(
        self,
        table: str,
        *,
        columns: Mapping[str, str | None] | None = None,
        key: Sequence[str] = (),
        model: Any = None,
    ) -> Callable[[F], F]:
        """Pass the table's rows through a function: it takes a dict and gives one back, None to drop it, or a list.

        `columns` names the columns that it adds with their Postgres types, and with None those that it takes away.
        `key` is the target's, where rows become several. With `model` it takes an instance of that pydantic class;
        rows that do not fit follow `on_bad_row`.
        """
        return self._declaring("map", table, columns=columns or {}, key=key, model=model)

    def filter(self, table: str, *, model: Any = None) -> Callable[[F], F]:
        """Keep the table's rows for which a function is true."""
        return self._declaring("filter", table, model=model)

    def model(self, table: str, model: Any) -> None:
        """Check the table's rows with a pydantic class; those that do not fit follow `on_bad_row`."""
        from etl_cli.runtime.program.declared import Change

        self.declared.add(Change("model", table, getattr(model, "__name__", "model"), lambda row: row, model=model))

    def extract(
        self,
        name: str,
        *,
        after: Sequence[str] = (),
        timeout: str | float | None = None,
        **settings: Unpack[SourceSettings],
    ) -> Callable[[F], F]:
        """Load what a generator yields into the table `name` (or `target`), as a step of each run.

        It yields rows as dicts, lists of dicts, pydantic objects or Arrow batches, or `(rows, position)`: what JSON
        holds, recorded with the rows in one transaction. It is given by name what it takes of `watermark` (where the
        last complete run came to: the highest value of `cursor`, without one the last position), `position` (that of
        the last recorded batch, where another try or a resumption goes on), `member`, `run`, steps and parameters.

        `pages` yields make a batch, `batches` a transaction. A try that fails is followed by another after `delay`,
        `delay * factor`, ... seconds, at most `limit`, until `attempts` in a row have recorded nothing. `fan_out` (a
        list, a mapping, a function, or a step's name, for its result) runs it once for each member, `at_once` of them
        at a time, each with a watermark and retries of its own. `SourceSettings` lists all keywords, `Source` their
        defaults. Raises ConfigError for what cannot be.
        """

        def declare(function: F) -> F:
            from etl_cli.runtime.program.source_settings import source_of

            source = source_of(function, name, **settings)
            self.declared.add_source(source, after=after, timeout=timeout)
            return function

        return declare

    def writer(self, table: str) -> Callable[[F], F]:
        """Give the batches of a table or of an own source to a function as well, after the changes of its rows.

        It is given by name what it takes of `batch` (Arrow), `last` (what it gave back for the last batch that is
        recorded, None at the beginning of a run), `part` (a text of its own for each shard, stream or member),
        `table`, `member` and `run_id`. What it gives back, as a file's length, is recorded with the rows: whatever it
        wrote after that, it writes again.
        """

        def declare(function: F) -> F:
            from etl_cli.runtime.program.source_settings import writer_of

            self.declared.writers.append(writer_of(function, table))
            return function

        return declare

    def step(
        self,
        function: F | None = None,
        *,
        after: Sequence[str] = (),
        retries: int = 0,
        retry_delay: str | float = "5s",
        timeout: str | float | None = None,
        when: Callable[..., Any] | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        model: Any = None,
    ) -> Any:
        """Run a function as a step of each run, after the steps that it names and those whose results it takes.

        Its parameters are given by name: `run` (`etl_cli.runtime.program.context.Run`), a step (its result), a
        parameter of the run, or `params` (all of them, as an instance of the pydantic class `model`). What it gives
        back must be what JSON holds. `when` is asked first, with parameters of the same kind; where it is not true the
        step is skipped.
        """

        def declare(function: F) -> F:
            from etl_cli.runtime.program.declared import python_step

            self.declared.add_step(
                python_step(
                    function,
                    after=after,
                    retries=retries,
                    retry_delay=retry_delay,
                    timeout=timeout,
                    when=when,
                    description=description,
                    tags=tags,
                    model=model,
                )
            )
            return function

        return declare if function is None else declare(function)

    def sql(
        self,
        file: str,
        *,
        name: str | None = None,
        after: Sequence[str] = (),
        retries: int = 0,
        retry_delay: str | float = "5s",
        timeout: str | float | None = None,
    ) -> None:
        """Execute a file of the pipeline's directory sql/ in the sink as a step, in one transaction."""
        from etl_cli.runtime.program.declared import sql_step

        self.declared.add_step(
            sql_step(
                self.directory, file, name=name, after=after, retries=retries, retry_delay=retry_delay, timeout=timeout
            )
        )

    def copy(self, name: str = "copy", *, tables: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        """Copy these source tables in a step of their own; what no copy step names is copied by the step `copy`."""
        from etl_cli.runtime.program.declared import Step

        self.declared.add_step(Step(name, "copy", tuple(after), tables=tuple(tables)))

    # hooks: each decorates a function that is given an `Event` (etl_cli.runtime.program.hooks)

    def on_run_start(self, function: F) -> F:
        """When a run begins."""
        return self._hooking("on_run_start", function)

    def on_run_end(self, function: F) -> F:
        """When a run has ended, with its state, rows, bytes, seconds and error."""
        return self._hooking("on_run_end", function)

    def on_step_start(self, function: F) -> F:
        """When a step begins."""
        return self._hooking("on_step_start", function)

    def on_step_end(self, function: F) -> F:
        """When a step has ended, with its state, seconds and error."""
        return self._hooking("on_step_end", function)

    def on_table_start(self, function: F) -> F:
        """When the first stream of a table of a shard begins."""
        return self._hooking("on_table_start", function)

    def on_table_end(self, function: F) -> F:
        """When a table of a shard has ended, with its state, rows, bytes, seconds and error."""
        return self._hooking("on_table_end", function)

    def on_read(self, function: F) -> F:
        """After each batch that was read, in the process that reads."""
        return self._hooking("on_read", function)

    def on_batch(self, function: F) -> F:
        """After each batch has passed the changes of etl.py, in the process that reads."""
        return self._hooking("on_batch", function)

    def on_write(self, function: F) -> F:
        """After each batch was sent to the sink, in the process that reads."""
        return self._hooking("on_write", function)

    def on_retry(self, function: F) -> F:
        """When a chunk is to be tried again, with its error and the seconds until then."""
        return self._hooking("on_retry", function)

    def on_error(self, function: F) -> F:
        """For each error that fails a table or a step."""
        return self._hooking("on_error", function)

    def _hooking(self, name: str, function: F) -> F:
        self.declared.hooks.setdefault(name, []).append(function)
        return function

    def _declaring(self, kind: Kind, table: str, **settings: Any) -> Callable[[F], F]:
        from etl_cli.runtime.errors import ConfigError
        from etl_cli.runtime.program.declared import Change

        if not isinstance(table, str):
            raise ConfigError(f"@pipeline.{kind} wants a table's name", f'write @pipeline.{kind}("dbo.orders")')

        def declare(function: F) -> F:
            self.declared.add(Change(kind, table, getattr(function, "__name__", "function"), function, **settings))
            return function

        return declare

    def run(self, progress: Progress | None = None, **wanted: Any) -> Outcome:
        """Run once, in this process; `wanted` are fields of a `Request`: params, tables, steps, members, full, resume.

        Without a sink own sources feed own writers, and nothing is recorded. Raises EtlError: RunFailedError for a
        run that began.
        """
        from dataclasses import replace

        from etl_cli.runtime.own.alone import run_alone
        from etl_cli.runtime.progress import Progress
        from etl_cli.runtime.request import Request
        from etl_cli.runtime.run import run_pipeline

        config, progress, request = self.config, progress or Progress(), Request(**wanted)
        request.refuse_contradictions()
        if config.has_sink:
            return run_pipeline(config, progress, request)
        declared = replace(self.declared, has_tables=bool(config.tables))
        return run_alone(config, declared, progress, request)

    def main(self) -> NoReturn:
        """Run the command that the program was called with: `python etl.py check`."""
        from etl_cli.runtime.main import main

        main(self.directory)
