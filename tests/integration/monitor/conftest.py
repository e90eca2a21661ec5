"""Pipelines with a real sink and a real mail server; systemctl and journalctl say what a test wants."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl_cli.monitor.record import record
from etl_cli.runtime.ledger.ledger import Ledger
from etl_cli.runtime.request import Request
from tests.conftest import free_port
from tests.support.database import SinkDatabase
from tests.support.mail import Mailbox, mail_server
from tests.support.pipeline import PipelineDirectory, write_config

NOW = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)
_ANSWERING = """#!{python}
import json, pathlib, sys
here = pathlib.Path({here!r})
asked = sys.argv[sys.argv.index("--") + 1:] if "--" in sys.argv else sys.argv[1:]
with (here / "calls").open("a") as calls:
    print(json.dumps(sys.argv), file=calls)
answer = json.loads((here / "answer.json").read_text())
{rest}
"""
_SYSTEMCTL = """
print("\\n\\n".join("\\n".join(f"{k}={v}" for k, v in {"Id": unit, **answer.get(unit, {})}.items()) for unit in asked))
"""
_JOURNALCTL = """
units = {word.removeprefix("--unit=") for word in sys.argv if word.startswith("--unit=")}
for unit, lines in answer.get("journal", {}).items():
    for line in lines if unit in units else ():
        print(json.dumps({"_SYSTEMD_UNIT": unit, "PRIORITY": "3", "__REALTIME_TIMESTAMP": "1767600000000000", **line}))
"""


@dataclass
class Host:
    """What systemd and the journal of the host say."""

    place: Path
    answers: dict[str, Any] = field(default_factory=dict)

    def say(self, unit: str, **properties: str) -> None:
        self.answers[unit] = {"LoadState": "loaded", **properties}
        self._write()

    def up(self, name: str, since: datetime = NOW - timedelta(days=3), **more: str) -> None:
        at = f"{since:%a %Y-%m-%d %H:%M:%S}.000000 UTC"
        usual = {"ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "NRestarts": "0"}
        usual |= {"ExecMainStartTimestamp": at, "MemoryCurrent": "61000000", "CPUUsageNSec": "12000000000"}
        self.say(f"etl-{name}.service", **usual, **more)

    def failed(self, name: str) -> None:
        how = {"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainStatus": "9"}
        self.say(f"etl-{name}.service", UnitFileState="enabled", **how)

    def stopped(self, name: str) -> None:
        how = {"ActiveState": "inactive", "SubState": "dead", "Result": "success"}
        self.say(f"etl-{name}.service", ExecMainStartTimestamp="Mon 2026-01-05 09:00:00.000000 UTC", **how)

    def logged(self, name: str, *messages: str) -> None:
        self.answers.setdefault("journal", {})[f"etl-{name}.service"] = [{"MESSAGE": text} for text in messages]
        self._write()

    @property
    def calls(self) -> list[str]:
        """Names of the programs that were called."""
        return [Path(json.loads(line)[0]).name for line in (self.place / "calls").read_text().splitlines()]

    def _write(self) -> None:
        (self.place / "answer.json").write_text(json.dumps(self.answers))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    place = tmp_path / "host"
    place.mkdir()
    for name, rest in (("systemctl", _SYSTEMCTL), ("journalctl", _JOURNALCTL)):
        text = _ANSWERING.format(python=sys.executable, here=str(place), rest=rest)
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    (place / "answer.json").write_text("{}")
    (place / "calls").touch()
    monkeypatch.setenv("PATH", str(place), prepend=":")
    return Host(place)


class Inbox:
    """What has arrived since somebody looked."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box

    @property
    def url(self) -> str:
        return self.box.url

    def subjects(self) -> list[str]:
        """Of all mails, without the host's name; with that the inbox is empty again."""
        subjects = [subject.rpartition(" on ")[0] for subject in self.box.subjects]
        self.box.messages.clear()
        return subjects


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with mail_server(free_port()) as box:
        yield Inbox(box)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipelines").mkdir()
    monkeypatch.setenv("ETL_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def new_pipeline(home: Path, sink: SinkDatabase, inbox: Inbox, host: Host) -> Callable[..., PipelineDirectory]:
    """A pipeline that is up, was never due, and tells the inbox."""

    def make(name: str = "orders", **keys: Any) -> PipelineDirectory:
        directory = home / "pipelines" / name
        directory.mkdir()
        write_config(
            directory,
            {
                "name": name,
                "id": f"{len(list((home / 'pipelines').iterdir())):08x}",
                "schedule": "@yearly",
                "source": {"user": "sa", "password": "x", "database": "d", "shards": [{"name": "s", "host": "h"}]},
                "sink": {"host": sink.host, "port": sink.port, "user": sink.user, "password": sink.password}
                | {"database": sink.database, "sslmode": "disable"},
                "alerts": {"urls": [inbox.url]},
                **keys,
            },
        )
        host.up(name)
        return PipelineDirectory(directory)

    return make


@pytest.fixture
def pipeline(new_pipeline: Callable[..., PipelineDirectory]) -> PipelineDirectory:
    return new_pipeline()


@dataclass
class Timer:
    """`monitor-pipelines --record`, a look at a time."""

    home: Path
    state: Path
    logs: Path

    def look(self, now: datetime = NOW) -> bool:
        directories = sorted(path.parent for path in (self.home / "pipelines").glob("*/config.yaml"))
        return record(directories, now=now)

    @property
    def log(self) -> list[str]:
        return (self.logs / "monitor.log").read_text().splitlines()


@pytest.fixture
def timer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Timer:
    places = {"STATE_DIRECTORY": home / "state", "LOGS_DIRECTORY": home / "logs"}
    for variable, place in places.items():
        place.mkdir()
        monkeypatch.setenv(variable, str(place))
    return Timer(home, *places.values())


def run_of(sink: SinkDatabase, name: str, state: str, began: datetime, pipeline_id: str = "00000001") -> int:
    """A run in the ledger that began then, and is in that state since."""
    with sink.open() as connection:
        ledger = Ledger(connection)
        ledger.register(name, pipeline_id)
        run_id = ledger.start_run(name, "f", Request("by hand"))
        if state != "running":
            ledger.finish_run(run_id, state, "it broke" if state == "failed" else None)
        connection.execute(
            "UPDATE etl.runs SET created_at = %(at)s, attempted_at = %(at)s, heartbeat_at = %(at)s,"
            " finalized_at = CASE WHEN state = 'running' THEN NULL ELSE %(at)s END WHERE run_id = %(run)s",
            {"at": began, "run": run_id},
        )
    return run_id
