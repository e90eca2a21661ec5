"""Tries everything that a run needs, and lists every finding with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg
import pyodbc

from etl_cli import __version__
from etl_cli.runtime.alerts import unknown_urls
from etl_cli.runtime.config import Config, load_config
from etl_cli.runtime.errors import EtlError, SourceError
from etl_cli.runtime.expansion import names
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.ledger.migrate import ledger_errors
from etl_cli.runtime.locate import vendored_version
from etl_cli.runtime.names import quote_sink
from etl_cli.runtime.pending import refused
from etl_cli.runtime.plan import Plan, TablePlan
from etl_cli.runtime.plan_program import declared_of, problems_of_program, shared_by_sources, targets_of_sources
from etl_cli.runtime.planner import make_plan
from etl_cli.runtime.planning import Resolved, resolve, shards_of, sink_of
from etl_cli.runtime.sink.connect import SinkConnection, connect_sink, translate
from etl_cli.runtime.source.catalogue import Catalogue, read_catalogue
from etl_cli.runtime.source.connect import Shard, connect_arrow, connect_odbc
from etl_cli.runtime.source.driver import microsoft_driver, missing_libraries, uses_microsoft_driver
from etl_cli.runtime.source.errors import translate as translate_source
from etl_cli.runtime.source.scan import select_nothing

MINIMUM_POSTGRES = 14

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: where, how it stands, and what was found or is to be done."""

    area: str
    status: Status
    text: str


def check(directory: Path) -> list[Finding]:
    """Everything that was tried, in order; nothing is changed but the ledger's own tables."""
    try:
        config = load_config(directory)
    except EtlError as error:
        return [Finding("configuration", "problem", str(error))]
    findings = [*_configuration(config), *_service(config, directory)]
    if not config.has_sink:
        told = "none is configured: runs have no ledger, and no service"
        return [*findings, Finding("sink", "note", told)]
    if not config.tables:
        return [*findings, *_sink_and_tables(config, [])]
    findings += _system(config)
    if any(f.status == "problem" and f.area == "driver" for f in findings):
        return findings
    catalogues, of_shards = _shards(config)
    return [*findings, *of_shards, *_sink_and_tables(config, catalogues)]


def _configuration(config: Config) -> Iterator[Finding]:
    entries = f"{len(config.tables)} table {'entry' if len(config.tables) == 1 else 'entries'}"
    told = f"{entries}, {len(config.source.shards)} shards" if config.tables else "no tables"
    yield Finding("configuration", "ok", f"{config.name}: {told}")
    yield from (Finding("configuration", "problem", text) for text in refused(config))
    if config.tables:
        return
    try:
        declared = declared_of(config)
    except EtlError as error:
        yield Finding("program", "problem", str(error))
        return
    if not declared.steps:
        yield Finding("configuration", "problem", "tables: none are named: add some, e.g. - source: dbo.orders")
        return
    problems = problems_of_program(config, declared, ())
    yield from (Finding("program", "problem", text) for text in problems)
    if not problems:
        yield Finding("program", "ok", f"steps: {', '.join(node.name for node in declared.graph().nodes)}")


def _service(config: Config, directory: Path) -> Iterator[Finding]:
    """What only the service needs, and what `generate` put beside the configuration."""
    carried = vendored_version(directory)
    if carried is not None and carried != __version__:
        remedy = f"pip install {directory / 'vendor'}/etl_cli-{carried}-*.whl, or generate the pipeline again"
        yield Finding("runtime", "note", f"this is etl-cli {__version__}, vendor/ carries {carried}: {remedy}")
    entries = [] if config.schedule is None or isinstance(config.schedule, str) else config.schedule
    for number, entry in enumerate(entries):
        unknown = [name for name in entry.tables or () if not any(names(table, name) for table in config.tables)]
        if unknown:
            told = f"schedule[{number}].tables: {', '.join(unknown)} is none of `tables`: name tables that are copied"
            yield Finding("configuration", "problem", told)
    yield from (Finding("alerts", "problem", problem) for problem in unknown_urls(config))


def _system(config: Config) -> Iterator[Finding]:
    if not uses_microsoft_driver(config.source.driver):
        yield Finding("driver", "ok", f"{config.source.driver} (portable reader)")
        return
    missing = missing_libraries()
    if missing:
        yield Finding("driver", "problem", f"system libraries are missing: apt-get install {' '.join(missing)}")
        return
    try:
        yield Finding("driver", "ok", microsoft_driver().name)
    except EtlError as error:
        yield Finding("driver", "problem", str(error))


def _shards(config: Config) -> tuple[list[Catalogue], list[Finding]]:
    shards = shards_of(config)
    with ThreadPoolExecutor(max_workers=len(shards)) as threads:
        answers = list(threads.map(lambda shard: _shard(config, shard), shards))
    return [catalogue for catalogue, _ in answers if catalogue], [f for _, findings in answers for f in findings]


def _shard(config: Config, shard: Shard) -> tuple[Catalogue | None, list[Finding]]:
    """Log in by both ways that a run uses, read the catalogue, try the right to each planned table."""
    area = f"source {shard.name}"
    try:
        connection = connect_odbc(shard, attempts=1)
    except SourceError as error:
        return None, [_of_shard(shard, error)]
    try:
        catalogue = read_catalogue(connection, shard)
        refused_tables = list(_tried(config, shard, catalogue, connection))
        if uses_microsoft_driver(shard.source.driver):
            connect_arrow(shard).close()
    except (SourceError, pyodbc.Error) as error:
        return None, [_of_shard(shard, error)]
    finally:
        connection.close()
    server = catalogue.server
    snapshot = (
        "snapshot reads" if server.snapshot_allowed else "no snapshot reads: counts are compared before and after"
    )
    told = f"{shard.address}/{server.database}, version {server.version}, {snapshot}"
    problems = refused_tables
    if config.source.isolation == "snapshot" and not server.snapshot_allowed:
        remedy = f"ALTER DATABASE {server.database} SET ALLOW_SNAPSHOT_ISOLATION ON"
        problems.append(Finding(area, "problem", f"isolation: snapshot is not allowed there: {remedy}"))
    return catalogue, [Finding(area, "ok", told), *problems]


def _of_shard(shard: Shard, error: Exception) -> Finding:
    """The error without the shard's name, which the area says already."""
    return Finding(f"source {shard.name}", "problem", str(error).removeprefix(f"shard {shard.name}: "))


def _tried(config: Config, shard: Shard, catalogue: Catalogue, connection: pyodbc.Connection) -> Iterator[Finding]:
    """Each planned table that the server does not let be read as a run would."""
    plan, _, _ = make_plan(config, [catalogue])
    for table in plan.tables:
        try:
            connection.execute(select_nothing(table)).close()
        except pyodbc.Error as error:
            yield _of_shard(shard, translate_source(error, shard.name, f"reading {table.source}"))


def _sink_and_tables(config: Config, catalogues: list[Catalogue]) -> Iterator[Finding]:
    try:
        connection = connect_sink(sink_of(config), f"etl-cli {config.name} check", attempts=1)
    except EtlError as error:
        yield Finding("sink", "problem", str(error))
        if catalogues:
            plan, problems, notes = make_plan(config, catalogues)
            yield from _tables(plan, problems, notes, len(config.source.shards) - len(catalogues))
        return
    with connection:
        yield from _sink(config, connection)
        own = _own_targets(config)
        yield from (Finding("program", "ok", f"{source} -> {target}") for source, target in own.items())
        targets = list(own.values())
        if catalogues:
            try:
                resolved = resolve(config, catalogues, connection)
            except psycopg.Error as error:
                yield Finding("sink", "problem", str(translate(error, "looking at the targets")))
                return
            problems = [p for p in resolved.problems if p not in refused(config)]
            yield from _tables(resolved.plan, problems, resolved.notes, len(config.source.shards) - len(catalogues))
            yield from _rights(resolved, connection)
            targets += [table.target for table in resolved.plan.tables]
        yield from _other_writers(config, targets, connection)


def _own_targets(config: Config) -> dict[str, str]:
    try:
        declared = declared_of(config)
    except EtlError:
        return {}  # told with the program, or the tables
    return targets_of_sources(config, declared) if not shared_by_sources(config, declared, ()) else {}


def _other_writers(config: Config, targets: list[str], connection: SinkConnection) -> Iterator[Finding]:
    """Pipelines that write the same tables: each may take the other's rows away."""
    try:
        with ledger_errors(connection, "reading"):
            rows = connection.execute(
                "SELECT DISTINCT t.target, r.pipeline FROM etl.tasks AS t JOIN etl.runs AS r USING (run_id)"
                " WHERE t.target = ANY(%s) AND r.pipeline <> %s ORDER BY 1, 2",
                [targets, config.name],
            ).fetchall()
    except EtlError:
        return  # the sink's findings have told why
    for target, pipeline in rows:
        told = f"pipeline {pipeline} has written {target} as well"
        yield Finding("sink", "note", f"{told}: in modes replace and sync one takes the other's rows away")


def _sink(config: Config, connection: SinkConnection) -> Iterator[Finding]:
    version = connection.info.server_version // 10000
    encoding = connection.info.parameter_status("server_encoding")
    told = f"{sink_of(config).address}, Postgres {version}"
    if version < MINIMUM_POSTGRES:
        yield Finding("sink", "problem", f"{told}: {MINIMUM_POSTGRES} or newer is needed")
    elif encoding != "UTF8":
        yield Finding("sink", "problem", f"{told}: its encoding is {encoding}: the database must be UTF8")
    else:
        yield Finding("sink", "ok", told)
    try:
        with ledger_errors(connection):
            Ledger(connection).register(config.name, config.id)
        yield Finding("sink", "ok", "ledger: schema etl")
    except EtlError as error:
        yield Finding("sink", "problem", str(error))


def _rights(resolved: Resolved, connection: SinkConnection) -> Iterator[Finding]:
    user = connection.info.user
    for table, apply in ((t.plan, t.apply) for t in resolved.tables):
        if apply.how == "difference" and not apply.problem:
            yield from _rights_on(table, connection)
    for schema in sorted({t.plan.target_schema for t in resolved.tables if t.apply.how != "difference"}):
        row = connection.execute(
            "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s", [schema]
        ).fetchone()
        if row is None:
            yield Finding(
                "sink", "problem", f"schema {schema} does not exist: CREATE SCHEMA {schema} AUTHORIZATION {user}"
            )
        elif not row[0]:
            yield Finding(
                "sink",
                "problem",
                f"schema {schema}: no right to create tables: GRANT CREATE ON SCHEMA {schema} TO {user}",
            )


def _rights_on(table: TablePlan, connection: SinkConnection) -> Iterator[Finding]:
    """A difference reads and writes the target in place."""
    quoted = quote_sink(table.target_schema, table.target_name)
    wanted = ("SELECT", "INSERT", "UPDATE", "DELETE")
    row = connection.execute(
        "SELECT array_agg(w) FILTER (WHERE NOT has_table_privilege(%s, w)) FROM unnest(%s::text[]) AS w",
        [quoted, list(wanted)],
    ).fetchone()
    if row and row[0]:
        grant = f"GRANT {', '.join(wanted)} ON {quoted} TO {quote_sink(connection.info.user)}"
        yield Finding("sink", "problem", f"{table.target}: no right to {', '.join(row[0])}: {grant}")


def _tables(plan: Plan, problems: list[str], notes: list[str], unreached: int) -> Iterator[Finding]:
    for table in plan.tables:
        yield Finding(
            "tables",
            "ok",
            f"{table.source} -> {table.target}: {len(table.columns)} columns, key {', '.join(table.key) or 'none'}",
        )
    yield from (Finding("tables", "note", note) for note in notes)
    yield from (Finding("tables", "problem", problem) for problem in problems)
    if unreached:
        yield Finding("tables", "note", f"{unreached} shard(s) could not be asked: their tables were not compared")
