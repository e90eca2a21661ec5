"""Asks shards and sink what a plan needs, and makes the plan: what `check`, `plan` and `run` begin with."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyodbc

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import EtlError, PlanError, SourceError
from etl_cli.runtime.job import READ_COMMITTED, SNAPSHOT
from etl_cli.runtime.pending import refused
from etl_cli.runtime.plan import Plan, TablePlan
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.sink.apply import Apply, decide
from etl_cli.runtime.sink.connect import Sink, SinkConnection
from etl_cli.runtime.sink.queries import query
from etl_cli.runtime.sink.target import read_target
from etl_cli.runtime.source.catalogue import Catalogue, read_catalogue
from etl_cli.runtime.source.connect import Shard, connect_odbc


@dataclass(frozen=True)
class Resolved:
    """A plan with how each table becomes visible, and what was found on the way."""

    plan: Plan
    applies: tuple[Apply, ...]
    catalogues: tuple[Catalogue, ...]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def tables(self) -> list[tuple[TablePlan, Apply]]:
        """Each table with its way."""
        return list(zip(self.plan.tables, self.applies, strict=True))

    def isolation(self, shard: str, wanted: str) -> str:
        """The isolation under which a shard is read: `auto` takes snapshot where it is allowed."""
        server = next(c.server for c in self.catalogues if c.shard == shard)
        snapshot = wanted == "snapshot" or (wanted == "auto" and server.snapshot_allowed)
        return SNAPSHOT if snapshot else READ_COMMITTED


def shards_of(config: Config) -> list[Shard]:
    """Every configured shard with all that it takes to reach it."""
    return [Shard(shard, config.source, config.connection) for shard in config.source.shards]


def sink_of(config: Config) -> Sink:
    """The configured sink with all that it takes to reach it."""
    return Sink(config.sink, config.connection)


def read_catalogues(shards: Sequence[Shard]) -> tuple[list[Catalogue], list[SourceError]]:
    """The catalogues of the shards that answer, and the errors of those that do not; all at once."""
    pyodbc.pooling = False
    with ThreadPoolExecutor(max_workers=len(shards)) as threads:
        answers = list(threads.map(_catalogue, shards))
    found = [answer for answer in answers if isinstance(answer, Catalogue)]
    return found, [answer for answer in answers if isinstance(answer, SourceError)]


def _catalogue(shard: Shard) -> Catalogue | SourceError:
    try:
        connection = connect_odbc(shard)
    except SourceError as error:
        return error
    try:
        return read_catalogue(connection, shard)
    except SourceError as error:
        return error
    finally:
        connection.close()


def resolve(config: Config, catalogues: Sequence[Catalogue], connection: SinkConnection) -> Resolved:
    """The plan of a run against these catalogues and this sink, problems collected."""
    plan, problems, notes = make_plan(
        config, catalogues, has_xml=has_xml(connection), extension_types=extension_types(connection)
    )
    applies = tuple(decide(t, read_target(connection, t.target_schema, t.target_name)) for t in plan.tables)
    problems = problems + [apply.problem for apply in applies if apply.problem]
    problems += refused(config)
    return Resolved(plan, applies, tuple(catalogues), problems, notes)


def resolve_or_refuse(config: Config, connection: SinkConnection) -> Resolved:
    """What a run needs. Raises EtlError with every problem in its text."""
    catalogues, errors = read_catalogues(shards_of(config))
    if errors:
        raise errors[0] if len(errors) == 1 else SourceError(_listed([str(error) for error in errors]))
    resolved = resolve(config, catalogues, connection)
    if resolved.problems:
        raise _refusal(resolved.problems)
    if not resolved.plan.tables:
        raise PlanError("no tables are configured", "name some under `tables` in config.yaml")
    return resolved


def has_xml(connection: SinkConnection) -> bool:
    """Whether the sink was built with XML; the embedded Postgres of the sandbox is not."""
    import psycopg

    try:
        connection.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def extension_types(connection: SinkConnection) -> dict[str, str]:
    """The types of PostGIS and pgvector that the sink's database has, each with the spelling of `format_type`.

    It names the extension's schema where the search path does not lead there.
    """
    return dict(connection.execute(query("extension_types")).fetchall())


def _refusal(problems: list[str]) -> EtlError:
    return PlanError(problems[0] if len(problems) == 1 else _listed(problems))


def _listed(problems: list[str]) -> str:
    return f"{len(problems)} problems\n" + "\n".join(f"  {problem}" for problem in problems)
