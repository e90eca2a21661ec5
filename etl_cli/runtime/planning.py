"""Asks shards and sink what a plan needs, and makes the plan: what `check`, `plan` and `run` begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pyodbc

from etl_cli.runtime.config.model import Config
from etl_cli.runtime.errors import EtlError, PlanError, SourceError
from etl_cli.runtime.job import READ_COMMITTED, SNAPSHOT
from etl_cli.runtime.ledger.watermarks import CHANGES_CURSOR, Watermark
from etl_cli.runtime.loading import Loading, applied, exact, loading_of
from etl_cli.runtime.names import quote_sink, quote_text
from etl_cli.runtime.pending import refused
from etl_cli.runtime.plan import Plan, TablePlan
from etl_cli.runtime.plan_program import declared_of, problems_of_program, shared_by_sources, with_changes
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.program.declared import Declared
from etl_cli.runtime.request import EVERYTHING, Request
from etl_cli.runtime.sink.apply import Apply, decide
from etl_cli.runtime.sink.connect import Sink, SinkConnection
from etl_cli.runtime.sink.evolve import discarded
from etl_cli.runtime.sink.queries import execute, query
from etl_cli.runtime.sink.target import Target, read_target
from etl_cli.runtime.source.catalogue import Catalogue, read_catalogue
from etl_cli.runtime.source.connect import Shard, connect_odbc

Marks = Mapping[tuple[str, str], Watermark]
"""Watermarks by (source table, shard)."""

NO_MARKS: Marks = {}


@dataclass(frozen=True)
class ResolvedTable:
    """A table's plan, how its rows are loaded, and how they become visible in the target as it stands."""

    plan: TablePlan
    loading: Loading
    apply: Apply
    target: Target | None


@dataclass(frozen=True)
class Resolved:
    """What a run will do, and what was found on the way."""

    pipeline: str
    shards: tuple[str, ...]
    tables: tuple[ResolvedTable, ...]
    catalogues: tuple[Catalogue, ...]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """The tables alone, as the configuration and the sources want them."""
        return Plan(self.pipeline, self.shards, tuple(table.plan for table in self.tables))

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


def resolve(
    config: Config,
    catalogues: Sequence[Catalogue],
    connection: SinkConnection,
    request: Request = EVERYTHING,
    watermarks: Marks = NO_MARKS,
) -> Resolved:
    """What a run would do against these catalogues and this sink, problems collected."""
    plan, problems, notes = make_plan(
        config,
        catalogues,
        has_xml=has_xml(connection),
        extension_types=extension_types(connection),
        request=request,
    )
    tables = []
    plan = with_changes(config, plan, problems, request)
    for wanted in plan.tables:
        table = _resolved(config, wanted, connection, request, watermarks, plan.shards)
        problems += [text for text in (table.loading.problem, table.apply.problem) if text]
        notes += _told_of(table)
        tables.append(table)
    problems += refused(config)
    return Resolved(config.name, plan.shards, tuple(tables), tuple(catalogues), problems, notes)


def _resolved(
    config: Config,
    wanted: TablePlan,
    connection: SinkConnection,
    request: Request,
    watermarks: Marks,
    shards: Sequence[str],
) -> ResolvedTable:
    target = read_target(connection, wanted.target_schema, wanted.target_name)
    plan = discarded(wanted, target) if target else wanted
    marks = [mark for shard in shards if (mark := watermarks.get((plan.source, shard))) is not None]
    follows = len(marks) == len(shards)
    if plan.mode == "changes":
        # versions of another target, key or condition, or a cursor of another mode, say nothing of this one
        follows = follows and target is not None and all(_is_of_changes(mark, plan) for mark in marks)
    streams = config.parallelism.streams_per_shard
    loading = exact(loading_of(plan, request, streams=streams, follows_changes=follows), target, continues=follows)
    unmarked = [shard for shard in shards if (plan.source, shard) not in watermarks]
    appended = loading.how in ("append", "insert") and not loading.plan.key and not loading.problem
    if appended and target and unmarked and _holds_rows(connection, plan, unmarked):
        loading = replace(loading, problem=_rows_of_unknown_age(plan, unmarked))
    if plan.cursor and not request.full and request.where is None and not loading.problem:
        loading = replace(loading, problem=_strange_marks(connection, plan, marks, target))
    apply = applied(decide(loading.plan, target), loading, request)
    return ResolvedTable(loading.plan, loading, apply, target)


def _is_of_changes(mark: Watermark, plan: TablePlan) -> bool:
    return mark.cursor == CHANGES_CURSOR and mark.scope == plan.scope


def _strange_marks(
    connection: SinkConnection, plan: TablePlan, marks: Sequence[Watermark], target: Target | None
) -> str:
    """What a watermark tells must be there: else the rows below it would never come. "" = nothing is wrong."""
    if not marks:
        return ""
    remedy = "`etl-cli state reset NAME` reads everything again, `etl-cli state set NAME` says where to go on"
    if target is None or not _holds_rows(connection, plan, ()):
        return (
            f"{plan.source}: {plan.target} is {'gone' if target is None else 'empty'}, but it has watermarks: {remedy}"
        )
    others = sorted({mark.id.shard for mark in marks if mark.scope != plan.scope})
    if others:
        told = f"the watermark of {', '.join(others)} is one of another target, key or condition"
        return f"{plan.source}: {told}: {remedy}"
    return ""


def _holds_rows(connection: SinkConnection, plan: TablePlan, shards: Sequence[str]) -> bool:
    """Whether the target has rows of these shards; of any, where none are named or they cannot be told apart."""
    table = quote_sink(plan.target_schema, plan.target_name)
    where = ""
    if plan.shard_column and shards:
        where = f" WHERE {quote_sink(plan.shard_column)} IN ({', '.join(map(quote_text, shards))})"
    return bool(execute(connection, f"SELECT FROM {table}{where} LIMIT 1"))


def _rows_of_unknown_age(plan: TablePlan, shards: Sequence[str]) -> str:
    return (
        f"{plan.source}: {plan.target} holds rows of {', '.join(shards)}, but there is no watermark, and without a key "
        "they would come twice: delete these rows, or say with `etl-cli state set NAME` how far they go"
    )


def _told_of(table: ResolvedTable) -> list[str]:
    """Trap 23: what an operator should know of a target that changes its columns."""
    plan, evolution = table.plan, table.apply.evolution
    if table.apply.how not in ("merge", "difference"):
        return []
    notes = []
    if evolution.added:
        names = ", ".join(name for name, _ in evolution.added)
        old = "; rows that are there already keep NULL in it" if plan.incremental else ""
        remedy = ": `etl-cli state reset NAME` and a run fill it" if old and plan.mode == "upsert" else ""
        notes.append(f"{plan.target}: a new column: {names}{old}{remedy}")
    if evolution.widened:
        told = ", ".join(f"{name} to {kind}" for name, kind in evolution.widened)
        notes.append(f"{plan.target}: a wider type: {told}")
    return notes


def resolve_or_refuse(
    config: Config,
    connection: SinkConnection,
    request: Request = EVERYTHING,
    watermarks: Marks = NO_MARKS,
) -> tuple[Resolved, list[SourceError]]:
    """What a run needs, and the errors of shards that did not answer where the run goes on without them.

    Raises EtlError with every problem in its text.
    """
    declared = declared_of(config)
    if problems := shared_by_sources(config, declared, ()):
        raise _refusal(problems)
    if not config.tables:
        if not declared.steps:
            raise PlanError("no tables are configured", "name some under `tables` in config.yaml")
        problems = problems_of_program(config, declared, (), request)
        if problems:
            raise _refusal(problems)
    if not config.tables or not _copies(declared, request):
        return Resolved(config.name, (), (), ()), []
    catalogues, errors = read_catalogues(shards_of(config))
    if errors and (config.error_handling.on_shard_failure == "fail" or not catalogues):
        raise errors[0] if len(errors) == 1 else SourceError(_listed([str(error) for error in errors]))
    resolved = resolve(config, catalogues, connection, request, watermarks)
    if resolved.problems:
        raise _refusal(resolved.problems)
    if not resolved.tables:
        raise PlanError("no tables are configured", "name some under `tables` in config.yaml")
    return resolved, errors


def _copies(declared: Declared, request: Request) -> bool:
    """Whether any step that is asked for copies tables."""
    copies = {step.name for step in declared.all_steps() if step.kind == "copy"}
    return not request.steps or not copies.isdisjoint(request.steps)


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
