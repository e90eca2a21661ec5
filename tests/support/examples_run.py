"""An example of the repository, as a user runs it: its directory copied, its .env filled in, `python etl.py VERB`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """A copy of an example's directory."""

    path: Path

    def run(self, verb: str, *options: str) -> Finished:
        """Run `python etl.py VERB OPTIONS` in it."""
        done = subprocess.run(
            self.command(verb, *options), cwd=self.path, capture_output=True, text=True, timeout=240, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def command(self, verb: str, *options: str) -> list[str]:
        """The command line, for its directory."""
        return [sys.executable, "etl.py", verb, *options]

    def start(self, verb: str, *options: str) -> subprocess.Popen[str]:
        """Begin it, in a process group of its own."""
        return subprocess.Popen(
            self.command(verb, *options),
            cwd=self.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def copied(name: str, to: Path, sink: SinkDatabase, **variables: str) -> Example:
    """Copy an example and write its .env: that of .env.template with these values."""
    directory = to / name
    shutil.copytree(EXAMPLES / name, directory, ignore=shutil.ignore_patterns("__pycache__", ".env"))
    values = {
        "SINK_DB_HOST": sink.host,
        "SINK_DB_PORT": str(sink.port),
        "SINK_DB_USER": sink.user,
        "SINK_DB_PASSWORD": sink.password,
        "SINK_DB_NAME": sink.database,
        **variables,
    }
    lines = []
    for line in (directory / ".env.template").read_text().splitlines():
        key, equals, _ = line.partition("=")
        lines.append(f"{key}={values.pop(key)}" if equals and key in values else line)
    assert not values, f"{name}/.env.template does not name {', '.join(values)}"
    (directory / ".env").write_text("\n".join(lines) + "\n")
    os.chmod(directory / ".env", 0o600)
    return Example(directory)


def module_of(name: str, file: str) -> ModuleType:
    """A file of an example, imported as it stands."""
    spec = importlib.util.spec_from_file_location(f"example_{name}_{Path(file).stem}", EXAMPLES / name / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Serve while the block runs; the address."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
