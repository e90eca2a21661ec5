"""A directory of examples/, copied and run as its README says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished
from tests.support.source import Server

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """A copy of an example, with a .env of its own."""

    path: Path

    def etl(self, verb: str, *options: str) -> Finished:
        """Run `python etl.py VERB OPTIONS` in it."""
        done = subprocess.run(
            self.command(verb, *options),
            cwd=self.path,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, verb: str, *options: str) -> subprocess.Popen[str]:
        """Begin it, in a process group of its own."""
        return subprocess.Popen(
            self.command(verb, *options),
            cwd=self.path,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def runs(self, *options: str) -> Finished:
        """A run that must succeed."""
        done = self.etl("run", *options)
        assert done.code == 0, done.out + done.err
        return done

    def is_ready(self) -> None:
        """`check` has nothing to say against a run."""
        done = self.etl("check")
        assert (done.code, done.out.splitlines()[-1]) == (0, "ready to run"), done.out + done.err

    def command(self, verb: str, *options: str) -> list[str]:
        """The command line, from its directory."""
        return [sys.executable, "etl.py", verb, *options]

    def environment(self) -> dict[str, str]:
        """That of the test without what .env sets: variables of the environment would win."""
        mine = {line.partition("=")[0] for line in (self.path / ".env").read_text().splitlines()}
        return {name: value for name, value in os.environ.items() if name not in mine}

    def patch(self, old: str, new: str) -> None:
        """Change a line of its etl.py."""
        text = (self.path / "etl.py").read_text()
        assert text.count(old) == 1, old
        (self.path / "etl.py").write_text(text.replace(old, new))


def copied(name: str, to: Path, sink: SinkDatabase, servers: Sequence[Server] = (), **variables: str) -> Example:
    """The example as a user has it: .env is .env.template with the addresses of the test, and these variables."""
    left_behind = shutil.ignore_patterns(".env", ".venv", "__pycache__", "*.jsonl")
    path = Path(shutil.copytree(EXAMPLES / name, to / name, ignore=left_behind))
    values = {
        "SINK_DB_HOST": sink.host,
        "SINK_DB_PORT": sink.port,
        "SINK_DB_USER": sink.user,
        "SINK_DB_PASSWORD": sink.password,
        "SINK_DB_NAME": sink.database,
        **{f"SHARD{number}_PORT": server.port for number, server in enumerate(servers, start=1)},
        **variables,
    }
    lines = (path / ".env.template").read_text().splitlines()
    missing = values.keys() - {line.partition("=")[0] for line in lines}
    assert not missing, f".env.template does not name {missing}"
    changed = [f"{key}={values.get(key, old)}" if equals else key for key, equals, old in map(_parted, lines)]
    (path / ".env").write_text("\n".join(changed) + "\n")
    (path / ".env").chmod(0o600)
    return Example(path)


def _parted(line: str) -> tuple[str, str, str]:
    return (line, "", "") if line.startswith("#") else line.partition("=")
