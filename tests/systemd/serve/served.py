"""A pipeline whose service runs in the machine, and what its tests ask of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.copying import rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import PipelineDirectory
from tests.support.source import PASSWORD, USER, Shards
from tests.support.waiting import until
from tests.systemd.host import command
from tests.systemd.installed import InstalledPipeline
from tests.systemd.machine import Done

TABLE = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL)"


@dataclass(frozen=True)
class Served(InstalledPipeline):
    """It copies dbo.orders of four shards into a database of the test's own."""

    shards: Shards
    sink: SinkDatabase

    # what a user does

    def generate(self, sink_port: int) -> None:
        """Generate it, and say in .env and config.yaml where shards and sink are."""
        arguments = ("generate", "--name", self.name, "--table", "dbo.orders")
        done = self.machine.run(command("etl-cli"), *arguments, ETL_HOME="/etc/etl")
        assert done.code == 0, done.err
        sink = self.sink
        secrets = {
            "SOURCE_DB_USER": USER,
            "SOURCE_DB_PASSWORD": PASSWORD,
            "SINK_DB_HOST": sink.host,
            "SINK_DB_PORT": sink_port,
            "SINK_DB_USER": sink.user,
            "SINK_DB_PASSWORD": sink.password,
            "SINK_DB_NAME": sink.database,
        }
        (self.outside / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in secrets.items()))
        self.change(
            schedule=None,
            source={"shards": self.shards.config()["shards"], "trust_server_certificate": True},
            connection={"retries": 0, "timeout": "5s"},
            error_handling={"retry_delay": "1s", "exponential_backoff": False},
            tables=[{"source": "dbo.orders", "chunk_rows": 200}],
        )

    def change(self, **keys: Any) -> None:
        """Edit config.yaml."""
        PipelineDirectory(self.outside).change(**keys)

    def manage(self, verb: str, *words: str) -> str:
        """`manage-pipeline VERB NAME WORDS`, which must succeed; its output."""
        done = self.try_to_manage(verb, *words)
        assert done.code == 0, done.err
        return done.out

    def try_to_manage(self, verb: str, *words: str) -> Done:
        return self.machine.run(command("manage-pipeline"), verb, self.name, *words, ETL_HOME="/etc/etl")

    def remove(self) -> None:
        """Whatever the test has made of it."""
        if self.outside.exists():
            self.manage("delete", "--purge", "--yes")
        shutil.rmtree(self.machine.root / f"etc/systemd/system/{self.unit}.d", ignore_errors=True)

    # the source

    def fill(self, rows: int, *, rows_per_s: float | None = None) -> None:
        """Give every shard so many orders, sent no faster than that."""
        self.shards.execute(TABLE)
        for shard in self.shards:
            assert shard.server.standin is not None
            columns: dict[str, Sequence[Any]] = {"id": range(rows), "note": [f"{shard.name} {n}" for n in range(rows)]}
            shard.server.standin.handle(shard.database).load_columns("dbo.orders", columns)
            if rows_per_s is not None:
                shard.server.standin.faults.slow_rows("orders", rows_per_s=rows_per_s)

    def hurry(self) -> None:
        """Have the shards send as fast as they can."""
        for shard in self.shards:
            assert shard.server.standin is not None
            shard.server.standin.faults.clear()

    # processes, by the machine's own numbers

    @property
    def supervisor(self) -> int:
        return int(self.show("MainPID"))

    @property
    def child(self) -> int | None:
        """The process of the attempt that is under way."""
        for pid in self.children_of(self.supervisor):
            if b"attempt" in (self.proc(pid) / "cmdline").read_bytes().split(b"\0"):
                return pid
        return None

    def children_of(self, pid: int) -> list[int]:
        return [int(child) for child in (self.proc(pid) / f"task/{pid}/children").read_text().split()]

    def below(self, pid: int) -> list[int]:
        """Its children, and theirs."""
        return [one for child in self.children_of(pid) for one in (child, *self.below(child))]

    def proc(self, pid: int) -> Path:
        return self.machine.root / "proc" / str(pid)

    def signal(self, pid: int, name: str) -> None:
        self.machine.check("kill", f"-{name}", str(pid))

    # what came of it

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return rows_of(self.sink, query)

    def until_rows(self, query: str, wanted: list[tuple[Any, ...]], patience_s: float = 40) -> None:
        until(lambda: self.ask(query) == wanted, patience_s, lambda: f"{query}: {self.ask(query)}, not {wanted}")

    def until_copied(self, rows: int) -> None:
        """Until so many rows are committed beside the target."""
        until(lambda: (self.ask("SELECT sum(rows) FROM etl.chunks")[0][0] or 0) >= rows)

    def runs(self) -> list[tuple[Any, ...]]:
        """State and attempt of each run."""
        return self.ask("SELECT state, attempt FROM etl.runs ORDER BY run_id")

    def read_by_attempt(self) -> dict[int, int]:
        """How many rows each attempt of all runs has read and committed."""
        return dict(self.ask("SELECT attempt, sum(rows_read)::int FROM etl.chunks GROUP BY attempt"))

    def assert_exact(self, rows: int) -> None:
        """The target holds every row of every shard once, as it is."""
        found = self.ask("SELECT shard, id, note FROM orders ORDER BY shard, id")
        assert found == [(f"shard{n}", i, f"shard{n} {i}") for n in range(1, 5) for i in range(rows)]

    def journal(self, *options: str) -> list[dict[str, Any]]:
        """The journal's entries of the unit."""
        out = self.machine.check("journalctl", "-o", "json", "-u", self.unit, *options)
        return [json.loads(line) for line in out.splitlines()]

    def said(self, *words: str, options: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The entries whose text holds all of the words."""
        return [entry for entry in self.journal(*options) if all(word in entry["MESSAGE"] for word in words)]

    def until_said(self, *words: str, patience_s: float = 40) -> dict[str, Any]:
        until(lambda: self.said(*words), patience_s, lambda: f"{words} not in the journal of {self.name}")
        return self.said(*words)[-1]

    def rss_bytes(self, pid: int) -> int:
        return int((self.proc(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
